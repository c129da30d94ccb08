"""Which checkpoints of a run are found and chosen, in what order, and with which weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cuvee.api.trajectory import Saved, Selection, choose, find_saved, selection_faults, step_of, weights_for
from cuvee.errors import InputError, UsageError


def folders(run: Path, *names: str) -> Path:
    for name in names:
        (run / name).mkdir(parents=True)
    return run


def names(saved: list[Saved]) -> list[str]:
    return [one.path.name for one in saved]


@pytest.mark.parametrize(
    "given",
    [
        ("checkpoint-1000", "checkpoint-200", "checkpoint-90"),
        ("step_1000", "step_200", "step_90"),
        ("epoch_12", "epoch_3", "epoch_1"),
        ("global_step1000", "global_step200", "global_step90"),
    ],
)
def test_a_run_is_ordered_by_number_and_not_by_alphabet(given: tuple[str, ...], tmp_path: Path) -> None:
    folders(tmp_path, *given, "runs", "checkpoint-best", "tmp-checkpoint-3000")
    saved, in_run = find_saved(tmp_path)
    assert in_run
    assert names(saved) == list(given[::-1])


def test_weight_files_with_numbers_are_a_run_too(tmp_path: Path) -> None:
    for name in ("swa_1000.safetensors", "swa_200.safetensors", "swa_30.safetensors"):
        save_file({"w": torch.zeros(1)}, tmp_path / name)
    (tmp_path / "optimizer_0.bin").write_bytes(b"")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert names(find_saved(tmp_path)[0]) == ["swa_30.safetensors", "swa_200.safetensors", "swa_1000.safetensors"]


def test_the_last_number_of_a_file_counts() -> None:
    assert step_of(Path("epoch=3-step=400.pt")) == 400
    assert step_of(Path("v2_model_7_ema.safetensors")) == 7
    assert step_of(Path("model.pt")) is None


def test_listed_checkpoints_are_ordered_by_number_where_all_have_one(tmp_path: Path) -> None:
    folders(tmp_path, "checkpoint-1000", "checkpoint-200", "other", "x/checkpoint-200")
    numbered = [tmp_path / "checkpoint-1000", tmp_path / "checkpoint-200"]
    assert names(find_saved(numbered)[0]) == ["checkpoint-200", "checkpoint-1000"]
    mixed = [tmp_path / "checkpoint-1000", tmp_path / "other", tmp_path / "checkpoint-200"]
    assert find_saved(mixed) == ([Saved(path, None) for path in mixed], False)
    twice = [tmp_path / "checkpoint-200", tmp_path / "x/checkpoint-200"]
    assert find_saved(twice) == ([Saved(path, None) for path in twice], False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("config",), "no checkpoints"),
        (("checkpoint-1", "step_1"), "1 of checkpoint-N, 1 of step_N"),
        (("checkpoint-1", "checkpoint-01"), "the same number"),
    ],
)
def test_a_run_without_one_series_is_refused(given: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        find_saved(folders(tmp_path, *given))
    assert caught.value.code == "not-a-checkpoint"


def test_what_is_not_there_is_told_for_every_path(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_saved([tmp_path / "a", tmp_path / "b"])
    assert caught.value.codes == ("model-missing", "model-missing")
    for wrong in ([], 3, "s3://bucket/run", ""):
        with pytest.raises(UsageError):
            find_saved(wrong)


RUN = [Saved(Path(f"checkpoint-{step}"), step) for step in range(100, 1100, 100)]


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (Selection(last=3), [800, 900, 1000]),
        (Selection(last=10), list(range(100, 1100, 100))),
        (Selection(everything=True), list(range(100, 1100, 100))),
        (Selection(from_step=300, to_step=600), [300, 400, 500, 600]),
        (Selection(every=4), [200, 600, 1000]),
        (Selection(from_step=250, to_step=750, every=2), [300, 500, 700]),
        (Selection(to_step=900, every=3, last=2), [600, 900]),
    ],
)
def test_choosing(asked: Selection, steps: list[int]) -> None:
    assert [one.step for one in choose(RUN, asked, in_run=True)] == steps


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Selection(), "of the 10 checkpoints"),
        (Selection(last=11), "the last 11 are asked for, and there are 10: checkpoint-100, "),
        (Selection(from_step=600, last=6), "there are 5"),
        (Selection(from_step=1001), "there are 100 to 1000"),
    ],
)
def test_choosing_what_is_not_there(asked: Selection, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        choose(RUN, asked, in_run=True)
    assert caught.value.code == "bad-argument"


def test_of_listed_checkpoints_all_are_meant_and_steps_need_numbers() -> None:
    plain = [Saved(Path(name), None) for name in "abc"]
    assert choose(plain, Selection(), in_run=False) == plain
    assert choose(plain, Selection(last=2), in_run=False) == plain[1:]
    with pytest.raises(UsageError, match="every checkpoint's name"):
        choose(plain, Selection(to_step=3), in_run=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"last": 0},
        {"last": True},
        {"last": 2.0},
        {"every": 0},
        {"from_step": -1},
        {"from_step": 5, "to_step": 4},
        {"everything": 1},
        {"everything": True, "last": 3},
    ],
)
def test_selections_that_mean_nothing(wrong: dict[str, object]) -> None:
    assert [fault.code for fault in selection_faults(Selection(**wrong))] == ["bad-argument"]  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_ema_weights_are_the_recurrence_written_out(decay: float, count: int) -> None:
    values = np.random.default_rng(count).standard_normal((count, 5))
    mean = values[0]
    for value in values[1:]:
        mean = decay * mean + (1 - decay) * value
    weights = weights_for("ema", count, decay)
    np.testing.assert_allclose(np.array(weights) @ values, mean, rtol=1e-13, atol=1e-15)
    assert sum(weights) == pytest.approx(1, abs=1e-15)


def test_weights_by_hand() -> None:
    assert weights_for("uniform", 4) == [1, 1, 1, 1]
    assert weights_for("linear", 4) == [1, 2, 3, 4]
    assert weights_for("ema", 3, 0.5) == [0.25, 0.25, 0.5]
