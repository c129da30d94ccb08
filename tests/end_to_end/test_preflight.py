"""The pre-flight on real checkpoints: on the command line, from Python, with data, and on pairs trained for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.cli import main
from cuvee.errors import CuveeError, InputError, OutputExists, ResourceError, UsageError
from tests.support import calibration
from tests.support.command_line import call

Capsys = pytest.CaptureFixture[str]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, two moved a little from it, one of another seed, a classifier, and texts."""
    root = tmp_path_factory.mktemp("shelf")
    calibration.make_model(root / "base", "llama")
    for seed, name in enumerate("ab", start=1):
        model = calibration.load(root / "base")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.005 * torch.randn(parameter.shape, generator=generator))
        calibration.pretrained.save(model, root / name)
        calibration.make_tokenizer().save_pretrained(str(root / name))
    calibration.make_model(root / "other", "llama", seed=5)
    calibration.texts(root / "rows.jsonl")
    return root


def test_the_command_line(shelf: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf)
    monkeypatch.setenv("COLUMNS", "100")
    ran = call(capsys, "inspect", "a", "b", "--base", "base", "--recipe", "merge.yml", "--layers")
    assert ran.code == 0
    for words in (
        "verdict  merge",
        "base     base: given",
        "a – b",
        "[signs >= 0.25]",
        "written to merge.yml",
        "layers.1",
    ):
        assert words in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    for verb in ("validate", "plan"):
        assert call(capsys, verb, "merge.yml").code == 0
    assert "# merge: " in Path("merge.yml").read_text("utf-8")
    again = call(capsys, "inspect", "a", "b", "--recipe", "merge.yml")
    assert (again.code, again.out) == (7, "")


def test_everything_stands_in_the_json(shelf: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf)
    found = call(capsys, "inspect", "a", "b", "base", "--json", "--data", "rows.jsonl").json
    assert (found["schema"], found["command"]) == (1, "inspect")
    told = found["preflight"]
    assert (told["verdict"], told["base"]["model"]) == ("merge", "base")
    assert {"rule", "level", "models", "text", "value", "limit", "why"} == told["reasons"][0].keys()
    assert told["pairs"][0]["overlap"]["k"] == 4
    assert told["suggestion"]["recipe"]["base_model"] == "base"
    assert told["barriers"][0]["rows"] == 5
    other = call(capsys, "inspect", "a", "other", "--json").json["preflight"]
    assert (other["verdict"], other["suggestion"]) == ("will not merge as they are", None)
    assert [reason["rule"] for reason in other["reasons"]] == ["strangers"]


def test_nothing_is_written_where_nothing_will_merge(shelf: Path, tmp_path: Path, capsys: Capsys) -> None:
    ran = call(capsys, "inspect", shelf / "a", shelf / "other", "--recipe", tmp_path / "merge.yml")
    assert ran.code == 0
    assert "no recipe is written" in " ".join(ran.out.split())
    assert not (tmp_path / "merge.yml").exists()


def test_losses_are_those_of_the_models_and_of_their_merge(shelf: Path) -> None:
    found = cuvee.will_merge([shelf / "a", shelf / "b"], base=shelf / "base", data=shelf / "rows.jsonl").barriers[0]
    half = {
        "merge_method": "linear",
        "models": [{"model": str(shelf / n)} for n in "ab"],
        "parameters": {"weight": 0.5},
    }
    wanted = []
    for model in (calibration.load(shelf / "a"), cuvee.load(half), calibration.load(shelf / "b")):
        with torch.no_grad():
            losses = [float(model(input_ids=ids, labels=ids).loss) for ids in calibration.tokens_of(shelf / "a")]
        wanted.append(torch.tensor(losses, dtype=torch.float64))
    assert found.losses == pytest.approx([float(losses.mean()) for losses in wanted], rel=1e-5)
    over = wanted[1] - (wanted[0] + wanted[2]) / 2
    assert found.barrier == pytest.approx(float(over.mean()), rel=1e-3)
    assert found.stderr == pytest.approx(float(over.std()) / 5**0.5, rel=1e-3)
    assert found.relative == pytest.approx(found.barrier / (found.losses[0] + found.losses[2]) * 2)


def test_paths_in_the_recipe_lead_on_from_its_folder(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    target = tmp_path / "recipes" / "merge.yml"
    cuvee.will_merge([shelf / "a", shelf / "b"], base=shelf / "base", recipe=target)
    assert cuvee.merge(target, tmp_path / "merged").path == tmp_path / "merged"


@pytest.mark.parametrize(
    ("given", "kind", "code"),
    [
        ({"models": ["a"]}, UsageError, "bad-argument"),
        ({"models": "a"}, UsageError, "bad-argument"),
        ({"models": ["a", "a"]}, UsageError, "bad-argument"),
        ({"models": ["a"], "base": "a"}, UsageError, "bad-argument"),
        ({"models": ["a", "b"], "base": 3}, UsageError, "bad-argument"),
        ({"models": ["a", "b"], "seed": 1.5}, UsageError, "bad-argument"),
        ({"models": ["a", "b"], "sample": "much"}, UsageError, "bad-argument"),
        ({"models": ["a", "./gone"]}, InputError, "model-missing"),
        ({"models": ["a", "b"], "data": "gone.jsonl"}, InputError, "data-missing"),
        ({"models": ["a", "b"], "data": "foreign.jsonl"}, InputError, "bad-data"),
        ({"models": ["a", "b"], "recipe": "rows.jsonl"}, OutputExists, "output-exists"),
        ({"models": ["a", "b"], "recipe": "gone/merge.yml"}, ResourceError, "not-writable"),
    ],
)
def test_bad_input_is_told(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], kind: type[CuveeError], code: str
) -> None:
    monkeypatch.chdir(shelf)
    Path("foreign.jsonl").write_text('{"input_ids": [1, 2, 96]}\n{"input_ids": [1]}\n')
    with pytest.raises(CuveeError) as caught:
        cuvee.will_merge(**given)
    assert (type(caught.value), caught.value.code) == (kind, code)
    if given.get("data") == "foreign.jsonl":
        assert [fault.place.line for fault in caught.value.faults if fault.place] == [1, 2]


@pytest.mark.parametrize("words", [("--data", "rows.jsonl"), ("--recipe", "x.yml"), ("--layers",)])
def test_one_model_has_nothing_to_merge_with(shelf: Path, capsys: Capsys, words: tuple[str, ...]) -> None:
    assert main(["inspect", str(shelf / "a"), *words]) == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.slow
def test_the_verdict_is_right_on_all_prepared_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models trained for it; right means: as wanted, and `no` exactly where a merge is refused or has a barrier."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import importlib

    benchmark = importlib.import_module("preflight")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = list(benchmark.rows_of(0, tmp_path))
    finally:
        torch.set_num_threads(threads)
        for name in ("preflight", "pairs"):
            sys.modules.pop(name, None)
    assert [row.pair for row in rows if not row.right] == []
    because = {pair.name: pair.because for pair in benchmark.pairs.PAIRS if pair.wanted != "merge"}
    assert [row.pair for row in rows if row.pair in because and not set(because[row.pair]) & set(row.reasons)] == []
    near = {row.pair: row for row in rows}["same base"]
    assert near.base_found
    assert near.suggested_loss is not None
    assert near.losses is not None
    assert near.suggested_loss < min(near.losses[0], near.losses[2])


def test_the_results_in_the_repository_are_right() -> None:
    found = json.loads((BENCHMARKS / "results" / "preflight.json").read_text("utf-8"))
    assert len(found["rows"]) >= 12
    assert [(row["pair"], row["seed"]) for row in found["rows"] if not row["right"]] == []
