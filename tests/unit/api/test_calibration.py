"""Measuring this machine, keeping the figures, and what plans make of them. No figure itself is anybody's business."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from cuvee import methods
from cuvee.api.calibrating import calibrate
from cuvee.api.calibration import Calibration, calibration_file, load, save
from cuvee.api.forecast import forecast, kinds_of
from cuvee.errors import ResourceError, UsageError
from cuvee.execute.probe import has_pace, recipe_for, seconds_of, write_models
from cuvee.fused import COMPILING, SAVES, available
from cuvee.planning import DEFAULT, Workers, predict
from tests.support.plans import entry, plan_of, recipe, tensors

WORKERS = Workers(2, 1 << 19)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def known(tmp_path: Path) -> Calibration:
    machine = replace(DEFAULT, start_up=7.0)
    return Calibration(machine, str(tmp_path), tmp_path.stat().st_dev, "2030-01-02T03:04:05+00:00", "9")


def linear(numel: int = 8, dtype: torch.dtype = torch.bfloat16):
    # meta would do for a plan, but readers look at bytes: one element, shown many times over
    held = {"x": torch.zeros(1, dtype=dtype).expand(numel)}
    return plan_of(recipe("linear", entry("a", weight=1), entry("b", weight=1)), {"a": held, "b": held})


def test_what_is_kept_is_read_again(known: Calibration, cache: Path) -> None:
    assert load() is None
    assert save(known) == calibration_file() == cache / "cuvee" / "machine.json"
    assert load() == known
    assert [p.name for p in (cache / "cuvee").iterdir()] == ["machine.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.update(format=1),
        lambda data: data.pop("device"),
        lambda data: data["machine"].pop("sync"),
        lambda data: data["machine"].update(read=0),
        lambda data: data["machine"].update(write=float("nan")),
        lambda data: data["machine"].update(start_up=True),
        lambda data: data["machine"]["plain"]["ties"].update(one="fast"),
        lambda data: data["machine"].update(copy=None),
    ],
)
def test_what_is_damaged_counts_as_not_there(damage, known: Calibration) -> None:
    data = json.loads(save(known).read_text())
    damage(data)
    calibration_file().write_text(json.dumps(data))
    assert load() is None


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_what_is_no_such_file_counts_as_not_there(text: str, known: Calibration) -> None:
    save(known).write_text(text)
    assert load() is None


def test_a_cache_that_cannot_be_written_to_is_told(known: Calibration, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(ResourceError, match=r"could not keep what was measured in .*machine\.json"):
        save(known)


def test_a_plan_rests_on_what_was_measured(known: Calibration, tmp_path: Path) -> None:
    plan = linear()
    assert forecast(plan, WORKERS, tmp_path).basis == "assumed"
    assert forecast(plan, WORKERS, tmp_path).prediction == predict(plan, WORKERS, DEFAULT, "plain")
    save(known)
    assert forecast(plan, WORKERS, tmp_path).basis == "measured"
    assert forecast(plan, WORKERS, tmp_path).prediction.start == 7.0
    save(replace(known, device=known.device + 1))
    assert forecast(plan, WORKERS, tmp_path).basis == "measured-elsewhere"


def test_the_form_is_that_which_a_merge_would_choose(tmp_path: Path) -> None:
    if not available():
        pytest.skip("numba is not installed")
    found = forecast(linear(1 << 31), WORKERS, tmp_path).prediction
    assert found.form == "fused"
    assert found.start == DEFAULT.start_up + DEFAULT.fused_start + COMPILING  # nothing is in this cache
    assert forecast(linear(), WORKERS, tmp_path).prediction.form == "plain"


def test_the_dtypes_of_a_fused_form() -> None:
    assert kinds_of(linear()) == "bfloat16-bfloat16"
    assert kinds_of(linear(dtype=torch.float16)) == "float32-float32"
    whole = {"x": torch.zeros(2, dtype=torch.int64)}
    assert kinds_of(plan_of(recipe("linear", entry("a", weight=1)), {"a": whole | tensors("w")})) == ""


@pytest.mark.slow
def test_a_machine_is_measured_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUVEE_CACHE")  # kernels that are compiled already
    monkeypatch.setattr("cuvee.fused.SAVES", {k: v for k, v in SAVES.items() if k == "linear"})
    monkeypatch.setattr("cuvee.methods.names", lambda: ("linear", "slerp"))
    steps: list[tuple[int, int, str]] = []
    found = calibrate(tmp_path, entries=4096, runs=1, keep=False, progress=lambda *step: steps.append(step))
    machine = asdict(found.machine)
    assert machine["plain"].keys() == {"linear", "slerp"}
    assert machine["fused"].keys() == ({"linear"} if available() else set())
    numbers = [machine[k] for k in ("start_up", "fused_start", "tensor", "read", "write", "sync", "algebra")]
    assert all(number > 0 for number in numbers)
    assert (found.folder, found.device) == (str(tmp_path), tmp_path.stat().st_dev)
    assert [done for done, _, _ in steps] == list(range(len(steps)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in methods.names() if has_pace(name)])
def test_every_method_with_a_pace_can_be_measured(name: str, tmp_path: Path) -> None:
    write_models(tmp_path, 4096)
    assert seconds_of(recipe_for(name, tmp_path), tmp_path / "out", threads=1, kernels="plain") > 0


@pytest.mark.parametrize("given", [{"entries": 0}, {"runs": 0}, {"runs": 1.5}, {"progress": 3}])
def test_wrong_arguments_are_told_before_anything_is_measured(given: dict, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        calibrate(tmp_path, **given)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"could not measure in .*nowhere"):
        calibrate(tmp_path / "nowhere")
