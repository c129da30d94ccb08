"""Holes of a recipe: read with places, all faults at once, and filled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.errors import RecipeError, UsageError
from cuvee.recipe import to_data
from cuvee.recipe.files import documents_of
from cuvee.searching.holes import Hole
from cuvee.searching.reading import read_space
from cuvee.searching.space import Space, fill
from tests.support.searches import space_from, sums

TEXT = """\
merge_method: {choose: [ties, task_arithmetic, linear], name: method}
base_model: {choose: [base, other]}
models:
  - model: a
    include: {choose: [true, false]}
    parameters: {weight: {search: [0, 1], per: 4}}
  - model: {choose: [b, c]}
    parameters:
      weight: {search: [0, 1], per: [mlp, self_attn, "*"]}
      density: {search: [0.01, 1], log: true, start: 0.1}
parameters: {density: 0.5, lambda: {search: [0.5, 1.5], step: 0.5}}
"""


def space_of(text: str) -> Space:
    return read_space(documents_of(text, "recipe.yml"), None, Path("recipe.yml"))


def faults_of(text: str) -> Sequence[Any]:
    with pytest.raises(RecipeError) as caught:
        space_of(text)
    return caught.value.faults


def test_holes_have_names_and_starts() -> None:
    assert space_of(TEXT).start == {
        "method": "ties",
        "base_model": "base",
        "models[0].include": True,
        **{f"models[0].weight/{i}": 0.5 for i in range(4)},
        "models[1].model": "b",
        "models[1].weight/mlp": 0.5,
        "models[1].weight/self_attn": 0.5,
        "models[1].weight/*": 0.5,
        "models[1].density": 0.1,
        "lambda": 1.0,
    }


def test_what_is_filled_is_a_recipe_of_the_language() -> None:
    space = space_of(TEXT)
    recipe = fill(space, {**space.start, "models[0].weight/2": 0.25, "models[1].model": "c"})
    weights = [to_data(recipe)["models"][i]["parameters"]["weight"] for i in (0, 1)]
    assert weights[0] == [0.5, 0.5, 0.25, 0.5]
    assert weights[1] == [
        {"filter": "mlp", "value": 0.5},
        {"filter": "self_attn", "value": 0.5},
        {"filter": "*", "value": 0.5},
    ]
    assert to_data(recipe)["models"][1]["model"] == "c"


def test_a_model_that_is_left_out_is_not_in_the_recipe() -> None:
    space = space_of(TEXT)
    recipe = fill(space, {**space.start, "models[0].include": False})
    assert [str(entry.model) for entry in recipe.models] == ["b"]


def test_parameters_and_base_go_with_the_method() -> None:
    space = space_of(TEXT)
    arithmetic = fill(space, {**space.start, "method": "task_arithmetic"})
    linear = fill(space, {**space.start, "method": "linear"})
    assert "density" not in arithmetic.parameters
    assert "density" not in arithmetic.models[1].parameters
    assert arithmetic.base_model is not None
    assert linear.base_model is None


def test_values_are_for_holes_and_all_of_them() -> None:
    space = space_from(sums(2))
    with pytest.raises(UsageError) as caught:
        fill(space, {"models[0].weight": 0.5, "modls[1].weight": 0.5})
    assert [fault.subject for fault in caught.value.faults] == ["modls[1].weight", "models[1].weight"]
    assert "did you mean `models[1].weight`" in str(caught.value)


def test_holes_of_one_name_share_a_value() -> None:
    space = space_from(sums(3, {"search": [0, 1], "name": "w"}))
    assert [hole.name for hole in space.holes] == ["w"]
    recipe = fill(space, {"w": 0.25})
    assert [entry.parameters["weight"] for entry in recipe.models] == [0.25] * 3


@pytest.mark.parametrize(
    ("hole", "code", "word"),
    [
        ("{search: [0]}", "wrong-type", "two numbers"),
        ("{search: [1, 0]}", "out-of-range", "low to high"),
        ("{search: [0, .inf]}", "wrong-type", "two numbers"),
        ("{search: [0, 1], log: true}", "out-of-range", "above 0"),
        ("{search: [0, 1], step: 2}", "out-of-range", "step"),
        ("{search: [0, 1], stp: 0.1}", "unknown-key", "stp"),
        ("{search: [0, 1], start: 3}", "out-of-range", "start"),
        ("{search: [0, 1], per: 1}", "wrong-type", "per"),
        ("{search: [0, 1], choose: [1, 2]}", "wrong-value", "one of"),
        ("{choose: [1]}", "wrong-type", "two options"),
        ("{choose: [1, 1]}", "wrong-value", "differ"),
        ("{flow: {models: [a], layers: 2}}", "wrong-value", "slices"),
    ],
)
def test_a_wrong_hole_is_told_once_where_it_stands(hole: str, code: str, word: str) -> None:
    text = f"merge_method: linear\nmodels:\n  - model: a\n    parameters: {{weight: {hole}}}\n"
    (fault,) = faults_of(text)
    assert (fault.code, fault.place.line) == (code, 4)
    assert fault.place.column > 25
    assert word in fault.message


def test_faults_of_holes_and_of_the_recipe_are_told_together() -> None:
    text = TEXT.replace("step: 0.5", "step: 5").replace("model: a", "modle: a").replace("log: true", "log: 1")
    assert [(fault.code, fault.place.line) for fault in faults_of(text)] == [
        ("unknown-key", 4),
        ("wrong-type", 10),
        ("out-of-range", 11),
    ]


def test_a_bound_that_the_parameter_does_not_admit_is_told_before_anything_is_opened() -> None:
    (fault,) = faults_of(TEXT.replace("[0.01, 1], log: true, start: 0.1", "[0, 1]"))
    assert (fault.code, fault.place.line) == ("out-of-range", 10)


def test_names_that_are_shared_by_different_holes() -> None:
    data = sums(2)
    data["models"][0]["parameters"]["weight"] = {"search": [0, 1], "name": "w"}
    data["models"][1]["parameters"]["weight"] = {"search": [0, 2], "name": "w"}
    with pytest.raises(RecipeError, match="share their value"):
        space_from(data)


@pytest.mark.parametrize("verb", ["plan", "merge"])
def test_elsewhere_a_recipe_with_holes_is_refused_in_words(verb: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yml"
    file.write_text(TEXT)
    with pytest.raises(RecipeError) as caught:
        cuvee.plan(file) if verb == "plan" else cuvee.merge(file, tmp_path / "out")
    assert set(caught.value.codes) == {"has-holes"}
    assert caught.value.faults[0].place.line == 1
    assert f"cuvee search {file}" in caught.value.faults[0].hint


def test_a_flow_becomes_slices() -> None:
    flow = {"flow": {"models": ["a", "b"], "layers": 3, "repeats": 2}}
    space = space_from({"merge_method": "passthrough", "slices": flow})
    assert len(space.holes) == 12
    values = dict.fromkeys(space.start, False)
    values |= dict.fromkeys(["flow[0].models[0].layer[0]", "flow[0].models[0].layer[1]"], True)
    values |= dict.fromkeys(["flow[0].models[1].layer[2]", "flow[1].models[0].layer[2]"], True)
    found = [(str(s.sources[0].model), s.sources[0].layers) for s in fill(space, values).slices]
    assert found == [("a", (0, 2)), ("b", (2, 3)), ("a", (2, 3))]
    assert [s.sources[0].layers for s in fill(space, space.start).slices] == [(0, 3)]
    with pytest.raises(RecipeError):
        fill(space, dict.fromkeys(space.start, False))


def test_places_in_the_unit_interval() -> None:
    log = Hole("x", "range", 0.01, 1.0, log=True)
    steps = Hole("n", "range", 1, 6, step=2)
    choice = Hole("m", "choice", options=("a", "b", "c"))
    assert log.at(0.5) == 0.1
    assert log.place(0.1) == pytest.approx(0.5)
    assert steps.points() == (1, 3, 5)
    assert [type(v) for v in steps.points()] == [int] * 3
    assert steps.at(1.0) == 5
    assert [choice.at(u) for u in (0.0, 0.34, 1.0)] == ["a", "b", "c"]
    assert choice.place("c") == pytest.approx(5 / 6)
    assert Hole("w", "range", 0, 1).at(1 / 3) == 0.333333
