"""A search from a file to a recipe that merges: honest figures, bad input, and a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.errors import (
    CheckFailed,
    CuveeError,
    InputError,
    OutputExists,
    RecipeError,
    ResourceError,
    UsageError,
)
from cuvee.searching.journal import Journal
from cuvee.types import Score
from tests.support.checkpoints import write_model
from tests.support.command_line import call, environment
from tests.support.lanes import rarely
from tests.support.searches import Near, build, sums, write_language_models, write_units

TARGET = [0.8, 0.1, 0.4]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_units(tmp_path_factory.mktemp("models"))


def recipe_file(folder: Path, data: Any) -> Path:
    file = folder / "recipe.yml"
    file.write_text(json.dumps(data))  # JSON is YAML
    return file


def soup(folder: Path, count: int = 3) -> dict[str, Any]:
    entries = [{"model": f"{folder}/m{i}", "parameters": {"weight": 1}} for i in range(count)]
    return {"merge_method": "linear", "models": entries}


def test_a_search_finds_the_weights_and_writes_a_recipe_that_merges(models: Path, tmp_path: Path) -> None:
    file = recipe_file(models, sums())
    near = Near(TARGET)
    result = cuvee.search(file, near, strategy="cma-es", trials=90, out=tmp_path / "found", build=build)
    assert list(result.values.values()) == pytest.approx(TARGET, abs=0.06)
    merged = cuvee.merge(tmp_path / "found" / "best.yml", tmp_path / "merged")
    assert merged.merged == 1
    weights = cuvee.api.load_recipe(tmp_path / "found" / "best.yml").models
    assert [entry.parameters["weight"] for entry in weights] == list(result.values.values())
    told = json.loads((tmp_path / "found" / "result.json").read_text())
    assert told["best_parent"]["best_is"] == "better"
    assert told["best_parent"]["model"] == "m0"
    assert told["uniform"]["best_is"] == "better"
    assert told["trials"]["scored"] + told["trials"].get("repeated", 0) == 90


def test_no_choice_is_made_on_the_rows_of_the_report(models: Path) -> None:
    """Rows with luck of their own for every candidate: the search is flattered by it, and the report is not."""

    class Lucky(Near):
        def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
            self.rows_asked.append(tuple(rows or ()))
            seed = int(abs(float(model.sum())) * 1e6)
            each = torch.rand(self.count, generator=torch.Generator().manual_seed(seed))[list(rows or ())]
            return Score("luck", float(each.mean()), float(each.std() / len(each) ** 0.5), len(each), "higher")

    task = Lucky(TARGET, count=40)
    result = cuvee.search(sums(folder=models), task, strategy="random", trials=60, build=build, halving=False)
    searched = {row for rows in task.rows_asked[:60] for row in rows}
    reported = set(task.rows_asked[61])
    assert searched.isdisjoint(reported)
    assert searched | reported == set(range(40))
    assert result.optimism.value > result.optimism.stderr > 0
    assert result.optimism.value == pytest.approx(result.search.value - result.held_out.value)
    assert result.optimism.stderr == pytest.approx((result.search.stderr**2 + result.held_out.stderr**2) ** 0.5)


def test_a_task_of_its_own_for_the_report(models: Path) -> None:
    seen, kept = Near(TARGET, "seen"), Near(TARGET, "kept")
    cuvee.search(sums(folder=models), seen, report=kept, strategy="random", trials=3, build=build)
    assert all(len(rows) in (20, 40, 80) for rows in seen.rows_asked)
    assert {len(rows) for rows in kept.rows_asked} == {80}
    assert len(kept.rows_asked) == 1 + 3 + 1  # the result, three models, their average


def test_a_greedy_soup_of_a_recipe_without_holes(models: Path) -> None:
    task = Near([0.5, 0.5, 0.0], noise=0.0)
    result = cuvee.search(soup(models), task, strategy="greedy-soup", build=build)
    assert [str(entry.model)[-2:] for entry in result.recipe.models] == ["m0", "m1"]
    assert result.search.value >= max(one.gain for one in result.trials[:3] if one.gain is not None)
    even = cuvee.search(soup(models), task, strategy="uniform-soup", build=build)
    assert len(even.trials) == 1
    assert even.search.value < result.search.value


def test_a_pool_is_searched(models: Path, tmp_path: Path) -> None:
    names = [models / name for name in ("m0", "m1", "m2")]
    task = Near([1.0, 0.0, 1.0], noise=0.0)
    result = cuvee.search_pool(names, task, bases=[models / "base"], trials=40, top=2, out=tmp_path / "p", build=build)
    assert result.recipe.method != "linear"
    assert [str(entry.model)[-2:] for entry in result.recipe.models] == ["m0", "m2"]
    assert result.search.value > -0.05


def test_several_objectives_give_a_pareto_set(models: Path) -> None:
    tasks = [Near([1.0], "one", noise=0.0), Near([0.0], "other", noise=0.0)]
    result = cuvee.search(sums(1, folder=models), tasks, strategy="nsga2", trials=30, build=build)
    assert len(result.pareto) > 2
    gains = [result.trials[number].gains or () for number in result.pareto]
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in zip(sorted(gains), sorted(gains)[1:]) if a != b)


def test_a_constant_objective_is_told(models: Path) -> None:
    class Constant(Near):
        def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
            return Score("constant", 0.5, 0.0, len(rows or ()), "higher", (0.5,) * len(rows or ()))

    result = cuvee.search(sums(folder=models), Constant(TARGET), strategy="random", trials=4, build=build)
    assert result.log["constant_objective"]
    assert any("constant" in note for note in result.notes)
    assert result.verdict == "within noise"
    assert result.best == 0


def test_candidates_that_are_no_recipe_are_passed_over(models: Path) -> None:
    data = soup(models)
    for entry in data["models"]:
        entry["include"] = {"choose": [True, False]}
    result = cuvee.search(data, Near(TARGET), strategy="grid", build=build)
    assert [trial.state for trial in result.trials].count("infeasible") == 1
    assert len(result.trials) == 8


def test_what_is_wrong_with_a_call_is_told_at_once(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.search(sums(folder=models), Near(TARGET), strategy="cmaes", trials=0, holdout=1.5, resume=1)  # type: ignore[arg-type]
    assert {fault.subject for fault in caught.value.faults} == {"strategy", "trials", "holdout", "resume"}


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"objective": "no_such_module:task"}, UsageError, "bad-argument"),
        ({"objective": "tests.support.searches:TASK"}, UsageError, "bad-argument"),
        ({"objective": 3}, UsageError, "bad-argument"),
        ({"objective": []}, UsageError, "bad-argument"),
        ({"objective": Near(TARGET, count=1)}, UsageError, "bad-data"),
        ({"objective": [Near(TARGET), Near(TARGET)]}, UsageError, "bad-argument"),
        ({"report": [Near(TARGET), Near(TARGET, "b")]}, UsageError, "bad-argument"),
        ({"strategy": "nsga2"}, UsageError, "bad-argument"),
        ({"strategy": "learned-soup"}, UsageError, "bad-argument"),
        ({"strategy": "coordinate", "halving": True}, UsageError, "bad-argument"),
        ({"recipe": {"merge_method": "linear", "models": []}}, RecipeError, "wrong-value"),
        ({"recipe": soup(Path("x"))}, RecipeError, "no-holes"),
        ({"recipe": sums(folder=Path("/no/such/folder"))}, InputError, "model-missing"),
        ({"max_memory": "10B"}, ResourceError, "memory"),
        ({"resume": True}, UsageError, "bad-argument"),
    ],
)
def test_bad_input(change: dict[str, Any], kind: type[CuveeError], code: str, models: Path, tmp_path: Path) -> None:
    call: dict[str, Any] = {"recipe": sums(folder=models), "objective": Near(TARGET), "strategy": "random", "trials": 2}
    call |= {"out": tmp_path / "out", "build": build, **change}
    with pytest.raises(kind) as caught:
        cuvee.search(call.pop("recipe"), call.pop("objective"), **call)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_models_that_do_not_fit_are_told_before_anything_is_tried(models: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "odd", {"w": torch.ones(7)})
    data = sums(folder=models)
    data["models"][2]["model"] = {"choose": [f"{models}/m2", str(tmp_path / "odd")]}
    task = Near(TARGET)
    with pytest.raises(InputError) as caught:
        cuvee.search(data, task, build=build)
    assert caught.value.code == "shape-mismatch"
    assert task.rows_asked == []


def test_a_folder_with_a_search_is_not_written_over(models: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"strategy": "random", "trials": 3, "out": tmp_path, "build": build}
    (tmp_path / "mine.txt").write_text("mine")
    cuvee.search(sums(folder=models), Near(TARGET), **how)
    with pytest.raises(OutputExists):
        cuvee.search(sums(folder=models), Near(TARGET), **how)
    with pytest.raises(ResourceError, match="`seed` was 0 and is 1"):
        cuvee.search(sums(folder=models), Near(TARGET), resume=True, seed=1, **how)
    cuvee.search(sums(folder=models), Near(TARGET), overwrite=True, seed=1, **how)
    task = Near(TARGET)
    again = cuvee.search(sums(folder=models), task, resume=True, seed=1, **{**how, "trials": 5})
    assert again.log["evaluations"] == 2
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_search_under_way_is_not_begun_anew_by_another(models: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"strategy": "random", "trials": 2, "out": tmp_path, "build": build}
    cuvee.search(sums(folder=models), Near(TARGET), **how)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with Journal(tmp_path / "journal.jsonl", json.loads(before["journal.jsonl"].splitlines()[0]), resume=True):
        with pytest.raises(ResourceError) as caught:
            cuvee.search(sums(folder=models), Near(TARGET), overwrite=True, **how)
        assert caught.value.code == "output-busy"
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / ".best.yml.cuvee-123").write_text("of a process that was killed before it gave it its name")
    with pytest.raises(CheckFailed):
        cuvee.search(sums(folder=models), Broken(TARGET), overwrite=True, **how)
    assert [file.name for file in tmp_path.iterdir()] == ["journal.jsonl"]  # no result of the search before


class Broken(Near):
    def score(self, model, rows=None):
        raise RuntimeError("no")


def test_the_recipe_that_is_read_is_not_replaced(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "best.yml"
    file.write_text(json.dumps(sums(folder=models)))
    with pytest.raises(OutputExists, match="is read by this search"):
        cuvee.search(file, Near(TARGET), out=tmp_path, overwrite=True, build=build)


KILLED = """
import os, sys, time
import cuvee
from tests.support.searches import Near, build
class Slow(Near):
    def score(self, model, rows=None):
        time.sleep(float(sys.argv[2]))
        return super().score(model, rows)
goes_on = os.path.exists(os.path.join(sys.argv[1], "journal.jsonl"))
how = {"strategy": sys.argv[3], "trials": 24, "out": sys.argv[1], "build": build, "resume": goes_on}
cuvee.search("recipe.yml", Slow([0.8, 0.1, 0.4]), **how)
"""


@pytest.mark.parametrize("strategy", ["coordinate", *rarely("cma-es", "tpe")])
@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_with_the_same_suggestions(strategy: str, models: Path, tmp_path: Path) -> None:
    file = recipe_file(models, sums())

    def started(out: str, wait: float) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", KILLED, str(tmp_path / out), str(wait), strategy]
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), *filter(None, sys.path)])
        return subprocess.Popen(words, cwd=models, env=environment(PYTHONPATH=path))

    def journal(out: str) -> list[dict[str, Any]]:
        file = tmp_path / out / "journal.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    killed = started("killed", 0.1)
    until = time.monotonic() + 240
    while len(journal("killed")) < 12 and time.monotonic() < until:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    before = journal("killed")
    assert 12 <= len(before) < 25
    assert not (tmp_path / "killed" / "result.json").exists()
    assert started("killed", 0.0).wait(timeout=120) == 0
    whole = cuvee.search(file, Near(TARGET), strategy=strategy, trials=24, out=tmp_path / "whole", build=build)
    tried = [[(line["values"], line["gains"]) for line in journal(out)[1:]] for out in ("killed", "whole")]
    assert tried[0] == tried[1]
    assert journal("killed")[: len(before)] == before
    results = [json.loads((tmp_path / out / "result.json").read_text()) for out in ("killed", "whole")]
    assert results[0]["best"] == results[1]["best"]
    assert results[0]["evaluations"] < whole.log["evaluations"]


def test_the_command(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuvee.api import search_run

    monkeypatch.setattr(search_run, "built_by_transformers", build)
    file = recipe_file(models, sums())
    words = ("search", file, "--objective", "tests.support.searches:task", "--trials", "30", "-o", tmp_path / "found")
    ran = call(capsys, *words)
    assert ran.code == 0, ran.err
    assert "on rows held out" in ran.out
    assert "models[0].weight" in ran.out
    assert call(capsys, *words).code == OutputExists.exit_code
    ran = call(capsys, *words, "--resume", "--json")
    assert ran.json["evaluations"] == 0
    assert ran.json["best"]["values"].keys() == {f"models[{i}].weight" for i in range(3)}
    assert call(capsys, "merge", tmp_path / "found" / "best.yml", "-o", tmp_path / "merged").code == 0
    assert call(capsys, "merge", file, "-o", tmp_path / "other").code == RecipeError.exit_code
    ran = call(capsys, "search", "--objective", "x:y", "-o", tmp_path / "z")
    assert ran.code == UsageError.exit_code
    assert "RECIPE" in ran.err


def test_the_command_on_a_pool(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cuvee.api import search_run

    monkeypatch.setattr(search_run, "built_by_transformers", build)
    pool = [models / name for name in ("base", "m0", "m1")]
    words = ("--top", "2", "--base", models / "base", "--objective", "tests.support.searches:task", "--trials", "20")
    ran = call(capsys, "search", "--pool", *pool, *words, "-o", tmp_path / "found", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["strategy"] == "pool"


def test_failing_trials_end_with_a_check_that_failed(models: Path, tmp_path: Path) -> None:
    class Broken(Near):
        def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
            raise RuntimeError("no such thing")

    with pytest.raises(CheckFailed, match=r"5 trials in a row failed.*no such thing"):
        cuvee.search(sums(folder=models), Broken(TARGET), out=tmp_path / "out", build=build)
    assert len((tmp_path / "out" / "journal.jsonl").read_text().splitlines()) == 6


def test_holes_in_a_recipe_within_the_recipe(models: Path) -> None:
    inner = soup(models, 2) | {"parameters": {"normalize": False}}
    for entry in inner["models"]:
        entry["parameters"] = {"weight": {"search": [0, 1]}}
    data = {"merge_method": "linear", "models": [{"model": inner, "parameters": {"weight": 1.0}}]}
    result = cuvee.search(data, Near([0.8, 0.1]), strategy="coordinate", trials=60, build=build)
    assert list(result.values.values()) == pytest.approx([0.8, 0.1], abs=0.05)


def test_a_choice_of_method_and_of_layers_scaled(models: Path) -> None:
    data = sums(2, folder=models) | {"merge_method": {"choose": ["task_arithmetic", "ties"]}}
    data["parameters"] = {"density": {"search": [0.1, 1.0]}, "normalize": False}
    data["layer_scaling"] = {"policy": "lines", "alpha": {"search": [0.1, 1.0]}, "beta": 0}
    result = cuvee.search(data, Near([0.4, 0.2]), strategy="tpe", trials=12, build=build, halving=False)
    assert {trial.state for trial in result.trials} <= {"scored", "repeated"}
    assert {trial.values["merge_method"] for trial in result.trials} == {"task_arithmetic", "ties"}


class Logits(Near):
    """A task that keeps what models answer."""

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[3, 5, 7, 11]])).logits
        value = float(logits.double().square().sum())
        return Score("size", value, 0.0, 1, "higher")


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["weights", "flow"])
def test_what_is_judged_is_the_model_that_is_merged(shape: str, tmp_path: Path) -> None:
    """One module takes all candidates, stacks of different heights too; each answers like the merge from a folder."""
    folder = write_language_models(tmp_path)
    if shape == "weights":
        entries = [{"model": f"{folder}/{n}", "parameters": {"weight": {"search": [0, 1]}}} for n in "yz"]
        data = {"merge_method": "ties", "base_model": f"{folder}/x", "models": entries, "parameters": {"density": 0.5}}
    else:
        flow = {"models": [f"{folder}/{name}" for name in "xy"], "layers": 2, "repeats": 2}
        data = {"merge_method": "passthrough", "slices": {"flow": flow}}
    result = cuvee.search(data, Logits([0.0], count=4), strategy="random", trials=8, halving=False, out=tmp_path / "o")
    merged = cuvee.merge(tmp_path / "o" / "best.yml", tmp_path / "merged").path
    wanted = Logits([0.0]).score(cuvee.load(merged, dtype="float32")).value
    assert result.search.value == pytest.approx(wanted, rel=1e-9)
    assert len({trial.gain for trial in result.trials if trial.state == "scored"}) > 3


@pytest.mark.slow
def test_a_learned_soup_is_learned_and_judged(tmp_path: Path) -> None:
    from tests.support.experts import write_experts

    folder = write_experts(tmp_path)
    entries = [{"model": str(folder / name)} for name in "ab"]
    data = folder / "a-labelled.jsonl"
    result = cuvee.search(
        {"merge_method": "linear", "models": entries},
        Logits([0.0], count=4),
        strategy="learned-soup",
        data=data,
        out=tmp_path / "found",
    )
    assert len(result.trials) == 1
    assert (tmp_path / "found" / "best.yml").exists()
