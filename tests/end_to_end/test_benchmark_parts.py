"""The parts of the benchmarks: recipes, rounds, targets, the micro-benchmark and the curves, on next to nothing."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import cuvee
from cuvee import fused, methods
from cuvee.planning import referenced

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def parts() -> SimpleNamespace:
    """The modules of the scripts, which import each other by their bare names."""
    names = ("cases", "forms", "machine", "measure", "micro", "models", "prediction", "recipes", "report", "run")
    names += ("scaling", "targets", "catalogue_settings")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in names:
            del sys.modules[name]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_a_recipe_that_holds(name: str, parts: SimpleNamespace, tmp_path: Path) -> None:
    found = cuvee.recipe_from(parts.recipes.recipe(name, tmp_path))
    assert found.method == name
    beside = len(found.models) if methods.get(name).spec.collected else 0
    assert len(referenced(found)) == parts.recipes.models_read(name) + beside
    assert name in parts.recipes.methods()


def test_every_method_is_in_the_catalogue_s_table_or_left_out_with_a_reason(parts: SimpleNamespace) -> None:
    trials, left = parts.catalogue_settings.TRIALS, parts.catalogue_settings.LEFT_OUT
    assert set(methods.names()) == {*(name for name, trial in trials.items() if not trial.method), *left}
    assert not trials.keys() & left.keys()
    for name, trial in trials.items():
        known = {param.name for param in methods.get(trial.method or name).spec.params}
        known |= {"layer_scaling"} if trial.method else set()
        asked = {key for one in (trial.published, *trial.tuned) for key in one}
        assert asked <= known, f"{name} has no {asked - known}"


def test_recipes_are_those_that_the_targets_are_about(parts: SimpleNamespace, tmp_path: Path) -> None:
    assert parts.recipes.models_read("linear") == 3
    assert parts.recipes.models_read("slerp") == 2
    assert parts.recipes.models_read("ties") == 4
    density = [entry["parameters"]["density"] for entry in parts.recipes.recipe("dare_ties", tmp_path)["models"]]
    assert density == [0.5] * 3
    assert len(parts.recipes.recipe("ties", tmp_path, tunes="abcdefgh")["models"]) == 8


def test_targets_stand_beside_figures(parts: SimpleNamespace) -> None:
    told = parts.targets.told
    assert told("0.5", "linear", 2.0, None) == "net ≤ 2 (1.3): met"
    assert told("0.5", "linear", 1.3, None) == "net ≤ 2 (1.3): moonshot"
    assert told("0.5", "linear", 2.1, None) == "net ≤ 2 (1.3): missed"
    assert told("1.24", "ties", 9.0, 20.0) == "× ≥ 20 (35): met"
    assert told("1.24", "ties", 9.0, 19.9) == "× ≥ 20 (35): missed"
    assert told("1.24", "ties", 9.0, None) == told("0.1", "ties", 1.0, 99.0) == told("0.5", "new", 1.0, None) == ""


def case(parts: SimpleNamespace, who: str, what: str, script: str, out: Path):
    return parts.cases.Case(who, what, ("sh", "-c", script), out, 0, 3)


def test_rounds_are_interleaved_and_the_peer_takes_part_in_fewer(parts: SimpleNamespace, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    todo = [case(parts, who, "ties", f"echo {who} >> {log}", out) for who in ("floor", "cuvee", "mergekit")]
    rounds = parts.run.Rounds(todo, repeats=3, peer_repeats=1, ends=float("inf"))
    assert list(rounds.turns()) == [1, 2, 3]
    ours = ["cuvee", "floor", "floor", "cuvee"]
    assert log.read_text().split() == ["floor", "cuvee", "mergekit", *ours]
    assert [len(taken) for taken in rounds.runs.values()] == [3, 3, 1]


def test_warming_up_is_not_counted(parts: SimpleNamespace, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    kinds = [("floor", "3 models"), ("cuvee", "ties"), ("mergekit", "start-up"), ("mergekit", "ties")]
    todo = [case(parts, who, what, f"echo {who} {what} >> {log}", out) for who, what in kinds]
    rounds = parts.run.Rounds(todo, repeats=1, peer_repeats=1, ends=float("inf"))
    rounds.warm_up()
    assert log.read_text().splitlines() == ["cuvee ties", "mergekit start-up"]
    assert all(taken == [] for taken in rounds.runs.values())


def test_a_budget_ends_after_one_round_of_our_own(parts: SimpleNamespace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    todo = [case(parts, who, "ties", "true", out) for who in ("floor", "cuvee", "mergekit")]
    rounds = parts.run.Rounds(todo, repeats=5, peer_repeats=5, ends=0.0)
    assert list(rounds.turns()) == [1]
    assert [len(taken) for taken in rounds.runs.values()] == [1, 1, 0]


def test_a_peer_that_fails_is_told_of_and_not_tried_again(parts: SimpleNamespace, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    todo = [case(parts, "mergekit", "ties", f"echo x >> {log}; echo no such thing >&2; exit 1", out)]
    rounds = parts.run.Rounds(todo, repeats=3, peer_repeats=3, ends=float("inf"))
    assert list(rounds.turns()) == [1, 2, 3]
    assert rounds.failed == {"mergekit ties": "no such thing"}
    assert log.read_text().split() == ["x"]
    broken = parts.run.Rounds([case(parts, "cuvee", "ties", "exit 1", out)], 1, 1, float("inf"))
    with pytest.raises(RuntimeError, match="cuvee ties failed"):
        list(broken.turns())


def test_rows_of_an_interrupted_bench_have_the_ratios_that_can_be_had(parts: SimpleNamespace, tmp_path: Path) -> None:
    kinds = [
        ("floor", "3 models"),
        ("cuvee", "start-up"),
        ("cuvee", "ties"),
        ("mergekit", "start-up"),
        ("mergekit", "ties"),
    ]
    todo = [case(parts, who, what, "true", tmp_path) for who, what in kinds]
    walls = (2.0, 1.0, 5.0, 4.0, 40.0)
    runs = {c: [parts.measure.Run(wall, wall, 1 << 20)] for c, wall in zip(todo, walls, strict=True)}
    ours = parts.report.rows(todo, runs)[2]
    assert (ours.net_by_floor, ours.peer_by_ours, ours.peer_by_ours_net) == (2.0, 8.0, 9.0)
    runs[todo[4]] = []
    found = parts.report.rows(todo, runs)
    assert [row.what for row in found] == ["3 models", "start-up", "ties", "start-up"]
    assert found[2].peer_by_ours is None


def test_models_are_copied_only_from_another_file_system(parts: SimpleNamespace, tmp_path: Path) -> None:
    built = parts.models.build("tiny", tmp_path / "cache")
    assert parts.models.place(built, tmp_path) == built
    assert {p.name for p in built.iterdir()} == {"base", "a", "b", "c", "complete"}


@pytest.mark.slow
def test_the_micro_benchmark(parts: SimpleNamespace, tmp_path: Path) -> None:
    """Every method, every pass, every form but the one that takes seconds to compile."""
    asked = parts.micro.arguments(
        ["--entries", "3000", "--repeats", "1", "--no-compile", "--results", str(tmp_path), "--dtypes", "bfloat16"]
    )
    found = [row for method in asked.methods for row in parts.micro.rows_of(method, "bfloat16", asked)]
    parts.micro.keep(found, asked, 0.0)
    kept = json.loads((tmp_path / "micro.json").read_text("utf-8"))
    rows = {(row["method"], row["step"]): row for row in kept["rows"]}
    whole = {name for name in methods.names() if methods.get(name).spec.scope == "model"}
    assert whole
    assert {method for method, _ in rows} == set(methods.names()) - whole
    for row in rows.values():
        for form in ("eager", "fused"):
            assert row[form] is None or all(figure > 0 for figure in row[form])
    assert (rows["linear", "combine"]["fused"] is not None) == fused.available()
    assert rows["ties", "total"]["eager"][0] > rows["ties", "combine"]["eager"][0]
    assert "| ties | bfloat16 | combine |" in (tmp_path / "micro.md").read_text("utf-8")
    assert str(tmp_path) not in (tmp_path / "micro.json").read_text("utf-8")


@pytest.mark.parametrize("name", ["linear", "ties", "dare_ties"])
def test_what_torch_compiles_is_the_eager_form(name: str, parts: SimpleNamespace) -> None:
    import torch

    from cuvee.methods.tiles import combine_tile

    bed = parts.forms.bed_of(name, 3000, torch.bfloat16)
    known = parts.forms._known(bed)
    eager = combine_tile(methods.get(name), bed.stack(0, 3000), bed.base, 0, bed.job, known).bfloat16()
    assert torch.equal(parts.forms._tile_of(bed, known)(), eager)


@pytest.mark.slow
def test_the_curves(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "scaling.py"), "--smoke", "--cache", str(tmp_path / "cache")]
    command += ["--folder", str(tmp_path / "room"), "--results", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results" / "scaling.json").read_text("utf-8"))
    assert [(f["point"]["method"], f["point"]["count"], f["point"]["workers"]) for f in found["figures"]] == [
        ("linear", 3, 1)
    ]
    assert "<svg" in (tmp_path / "results" / "scaling.svg").read_text("utf-8")
    assert "| linear | tiny | 3 | 1 |" in (tmp_path / "results" / "scaling.md").read_text("utf-8")
    assert str(tmp_path) not in "".join(p.read_text("utf-8") for p in (tmp_path / "results").iterdir())
    assert list((tmp_path / "room").iterdir()) == [], "the models are taken away again"
