"""Slices with a method of their own: what they mean, and faults at the places where they were written."""

from __future__ import annotations

from typing import Any

import pytest

from cuvee.recipe import canonical, from_data, parse_text, to_data
from tests.support.marks import assert_only, told, unmarked
from tests.support.specs import SPECS


def piece(*layers: tuple[int, int], **more: Any) -> dict[str, Any]:
    sources = [{"model": model, "layer_range": list(bounds)} for model, bounds in zip("ab", layers)]
    return {"sources": sources, **more}


def inner(method: str, one: dict[str, Any], **more: Any) -> dict[str, Any]:
    length = one["sources"][0]["layer_range"][1] - one["sources"][0]["layer_range"][0]
    return {"sources": [{"model": {"merge_method": method, "slices": [one], **more}, "layer_range": [0, length]}]}


WEIGHT = {"parameters": {"weight": 0.5}}
LINEAR = piece((0, 8), (0, 8))
TIES = piece((8, 16), (8, 16), parameters={"weight": 1, "density": 0.5})
PASSED = piece((16, 20))


def test_it_means_results_stacked() -> None:
    short = {
        "merge_method": "linear",
        "base_model": "c",
        "dtype": "bfloat16",
        "parameters": {"weight": 0.5},
        "slices": [LINEAR, {**TIES, "merge_method": "ties"}, {**PASSED, "merge_method": "passthrough"}],
    }
    told_everywhere = {"base_model": "c", "dtype": "bfloat16"}
    long = {
        "merge_method": "passthrough",
        **told_everywhere,
        "slices": [
            inner("linear", LINEAR, **WEIGHT, **told_everywhere),
            inner("ties", TIES, **told_everywhere),
            PASSED,
        ],
    }
    assert from_data(short, SPECS) == from_data(long, SPECS)
    assert canonical(from_data(short, SPECS)) == canonical(from_data(long, SPECS))


def test_parameters_of_the_recipe_are_those_of_its_method() -> None:
    """`scale` halves what the recipe passes through, and not what the slice of another method makes."""
    short = {
        "merge_method": "passthrough",
        "parameters": {"scale": 0.5},
        "slices": [PASSED, {**TIES, "merge_method": "ties", "base_model": "c"}],
    }
    long = {
        "merge_method": "passthrough",
        "slices": [inner("passthrough", PASSED, parameters={"scale": 0.5}), inner("ties", {**TIES, "base_model": "c"})],
    }
    assert from_data(short, SPECS) == from_data(long, SPECS)


def test_a_list_of_layers_counts_and_repeats_stay_outside() -> None:
    source = {"model": "a", "layers": "5-2, 7x2"}
    short = {
        "merge_method": "passthrough",
        "slices": [{"sources": [source, {**source, "model": "b"}], "merge_method": "linear", **WEIGHT, "repeat": 2}],
    }
    recipe = from_data(short, SPECS)
    assert [list(p.sources[0].order) for p in recipe.slices] == [[0, 1, 2, 3, 4, 5]] * 2
    assert from_data(to_data(recipe), SPECS) == recipe


def test_without_methods_of_slices_nothing_is_written_out() -> None:
    recipe = from_data({"merge_method": "linear", **WEIGHT, "slices": [{**LINEAR, "merge_method": None}]}, SPECS)
    assert (recipe.method, recipe.nested) == ("linear", {})


TEXT = (
    "merge_method: linear\nbase_model: c\nparameters: {weight: 1}\nslices:\n"
    "  - sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 2]}]\n"
    "  - merge_method: ties\n    parameters: {weight: 1}\n"
    "    sources: [{model: a, layer_range: [2, 4]}, {model: b, layer_range: [2, 4]}]\n"
)
CASES = [
    ("method", "unknown-method", ("merge_method: ties", "merge_method: ‸tis"), "found `tis`"),
    ("no text", "wrong-type", ("merge_method: ties", "merge_method: ‸3"), "should be text"),
    (
        "parameter",
        "unknown-parameter",
        ("    parameters: {weight", "    parameters: {‸wheight: 2, weight"),
        "`wheight`",
    ),
    ("parameter of the recipe", "unknown-parameter", ("\nparameters: {weight", "\nparameters: {‸t: 1, weight"), "`t`"),
    (
        "parameter of a source",
        "out-of-range",
        ("b, layer_range: [2, 4]", "b, parameters: {density: ‸2}, layer_range: [2, 4]"),
        "(0, 1]",
    ),
    ("range", "bad-layer-range", ("b, layer_range: [2, 4]", "b, layer_range: ‸[4, 2]"), "run forward"),
    ("uneven", "bad-layer-range", ("b, layer_range: [0, 2]", "b, layer_range: ‸[0, 3]"), "two layers as the first"),
    ("key", "unknown-key", ("    sources", "    ‸lambda: 1\n    sources"), "has no key `lambda`"),
    ("base", "missing-base", ("base_model: c\n", ""), "ties needs a base model"),
    (
        "too many",
        "wrong-number-of-models",
        (
            "merge_method: ties\n    parameters: {weight: 1}\n    sources: [",
            "merge_method: slerp\n    parameters: {t: 1}\n    sources: ‸[",
        ),
        "slerp takes",
    ),
    ("repeat", "wrong-value", ("    sources", "    repeat: ‸0\n    sources"), "at least 1"),
    (
        "scaling",
        "ill-placed-parameter",
        ("base_model: c\n", "base_model: c\n‸layer_scaling: {policy: lines, beta: 1}\n"),
        "by recipes of their own",
    ),
]


@pytest.mark.parametrize(("code", "change", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_faults_stand_where_they_were_written(code, change, message) -> None:
    text = TEXT.replace(*change)
    assert text != TEXT
    if code == "missing-base":
        text = text.replace("merge_method: ties", "merge_method: ‸ties")
    assert_only(text, code, message, None)


def test_all_faults_are_told_once_and_in_order() -> None:
    text = TEXT.replace("parameters: {weight: 1}", "parameters: {‸wheight: 1}").replace("[2, 4]}]", "‸[2, 1]}]")
    assert [place for _, place in told(text)] == unmarked(text)[1]


def test_models_of_a_recipe_are_found_where_they_were_written() -> None:
    recipe = parse_text(TEXT, SPECS)
    found = recipe.nested[recipe.slices[1].sources[0].model.path]
    assert found.locate is not None
    place = found.locate(found.slices[0].sources[1].at)
    assert place is not None
    assert (place.line, place.column) == (8, 48)


def test_slices_of_modules_have_no_method_of_their_own() -> None:
    head = "merge_method: linear\nparameters: {weight: 1}\nmodules:\n  m:\n    slices:\n"
    text = head + "      - ‸merge_method: ties\n        sources: [{model: a, layer_range: [0, 1]}]"
    assert_only(text, "not-yet", "found a method of its own", "by a recipe of their own")
