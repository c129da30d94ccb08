"""Faults of a recipe's models: how many, which twice, which base, which layers."""

from __future__ import annotations

import pytest

from cuvee.recipe import groups
from cuvee.recipe.arity import wanted_models
from tests.support.marks import assert_only, faults_in, recipe_of, told, unmarked
from tests.support.specs import SPECS

W = "parameters: {weight: 1}\n"

# (name, code, text with a mark at the place, part of the message, part of the hint)
CASES = [
    (
        "slerp of three",
        "wrong-number-of-models",
        "merge_method: slerp\nbase_model: a\nparameters: {t: 0}\nmodels:\n  ‸- model: a\n  - model: b\n  - model: c",
        "slerp takes exactly two models, one of them the base, found 2 besides the base `a`",
        None,
    ),
    (
        "slerp of two and a third base",
        "wrong-number-of-models",
        "merge_method: slerp\nbase_model: c\nparameters: {t: 0}\nmodels: ‸[{model: a}, {model: b}]",
        "found 2 besides the base `c`",
        None,
    ),
    (
        "slerp of the base alone",
        "wrong-number-of-models",
        "merge_method: slerp\nbase_model: a\nparameters: {t: 0}\nmodels: ‸[{model: a}]",
        "found 0 besides the base `a`",
        None,
    ),
    (
        "slerp of three in a slice",
        "wrong-number-of-models",
        "merge_method: slerp\nbase_model: a\nparameters: {t: 0}\nslices:\n"
        "  - sources: [{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}]\n"
        "  - sources: ‸[{model: b, layer_range: [1, 2]}, {model: c, layer_range: [1, 2]}]",
        "found 2 besides the base `a`",
        None,
    ),
    (
        "ties of nothing",
        "wrong-number-of-models",
        f"merge_method: ties\nbase_model: a\n{W}models: ‸[{{model: a}}]",
        "ties takes one model or more besides the base, found 0",
        None,
    ),
    (
        "nuslerp of three",
        "wrong-number-of-models",
        f"merge_method: nuslerp\n{W}models: ‸[{{model: a}}, {{model: b}}, {{model: c}}]",
        "nuslerp takes exactly two models besides the base, found 3",
        None,
    ),
    (
        "passthrough of two",
        "wrong-number-of-models",
        "merge_method: passthrough\nmodels: ‸[{model: a}, {model: b}]",
        "passthrough takes exactly one model, found 2",
        None,
    ),
    (
        "passthrough with another base",
        "wrong-number-of-models",
        "merge_method: passthrough\nbase_model: b\nmodels: ‸[{model: a}]",
        "passthrough takes exactly one model, found 2, the base model `b` among them",
        None,
    ),
    (
        "passthrough of two in a module",
        "wrong-number-of-models",
        "merge_method: passthrough\nmodules:\n  x: {models: [{model: a}]}\n  y: {models: ‸[{model: a}, {model: b}]}",
        "found 2",
        None,
    ),
    (
        "too many of a few",
        "wrong-number-of-models",
        "merge_method: pair_or_three\nmodels: ‸[{model: a}, {model: b}, {model: c}, {model: d}]",
        "pair_or_three takes 2 to three models, found 4",
        None,
    ),
    (
        "no base",
        "missing-base",
        f"merge_method: ‸ties\n{W}models: [{{model: a}}]",
        "ties needs a base model, found none",
        "write `base_model: …`",
    ),
    (
        "no base of one slice",
        "missing-base",
        f"merge_method: ties\n{W}slices:\n"
        "  - {sources: [{model: a, layer_range: [0, 1]}], base_model: b}\n"
        "  - ‸sources: [{model: a, layer_range: [1, 2]}]",
        "ties needs a base model",
        None,
    ),
    (
        "base without layers of its own",
        "missing-base",
        f"merge_method: ties\nbase_model: c\n{W}slices:\n"
        "  - sources: ‸[{model: a, layer_range: [0, 1]}, {model: b, layer_range: [1, 2]}]",
        "ties needs layers of the base model `c`, found sources of different layer ranges",
        "list the base model among the sources",
    ),
    (
        "twice",
        "duplicate-model",
        f"merge_method: linear\n{W}models:\n  - model: a\n  - model: b\n  - model: ‸a",
        "`a` should be listed once, found it twice",
        "it is entry 1 of the list already",
    ),
    (
        "twice by two spellings",
        "duplicate-model",
        f"merge_method: linear\n{W}models: [{{model: a@main}}, {{model: ‸{{model: {{path: a, revision: main}}}}}}]",
        "`a@main` should be listed once",
        None,
    ),
    (
        "the same layers twice",
        "duplicate-model",
        f"merge_method: linear\n{W}slices:\n"
        "  - sources: [{model: a, layer_range: [0, 2]}, {model: ‸a, layer_range: [0, 2]}]",
        "layers [0, 2] of `a` should be listed once",
        None,
    ),
    (
        "ranges of different length",
        "bad-layer-range",
        f"merge_method: linear\n{W}slices:\n"
        "  - sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: ‸[1, 4]}]",
        "should have two layers as the first, found 3",
        None,
    ),
]


@pytest.mark.parametrize(("code", "text", "message", "hint"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_fault_at_its_place(code, text, message, hint):
    assert_only(text, code, message, hint)


RIGHT = [
    ("slerp, base listed", "merge_method: slerp\nbase_model: a\nparameters: {t: 0}\nmodels: [{model: a}, {model: b}]"),
    ("slerp, base not listed", "merge_method: slerp\nbase_model: a\nparameters: {t: 0}\nmodels: [{model: b}]"),
    ("nuslerp without base", f"merge_method: nuslerp\n{W}models: [{{model: a}}, {{model: b}}]"),
    ("nuslerp with base", f"merge_method: nuslerp\nbase_model: c\n{W}models: [{{model: a}}, {{model: b}}]"),
    ("linear, base appended", f"merge_method: linear\nbase_model: c\n{W}models: [{{model: a}}]"),
    ("passthrough of its base", "merge_method: passthrough\nbase_model: a\nmodels: [{model: a}]"),
    (
        "a stack with a base: slices gain no source",
        "merge_method: passthrough\nbase_model: b\nslices: [{sources: [{model: a, layer_range: [0, 2]}]}]",
    ),
    (
        "one model, two ranges",
        f"merge_method: linear\n{W}slices:\n"
        "  - sources: [{model: a, layer_range: [0, 2]}, {model: a, layer_range: [2, 4]}]",
    ),
    (
        "slerp of a model with other layers of itself",
        "merge_method: slerp\nbase_model: a\nparameters: {t: 0.5}\nslices:\n"
        "  - sources: [{model: a, layer_range: [0, 2]}, {model: a, layer_range: [2, 4]}]",
    ),
    (
        "base takes the layers of the sources",
        f"merge_method: ties\nbase_model: c\n{W}slices:\n"
        "  - sources: [{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}]",
    ),
    (
        "base of every slice",
        f"merge_method: ties\n{W}slices:\n  - {{sources: [{{model: a, layer_range: [0, 1]}}], base_model: b}}",
    ),
    ("two revisions", f"merge_method: linear\n{W}models: [{{model: a@x}}, {{model: a@y}}]"),
]


@pytest.mark.parametrize("text", [text for _, text in RIGHT], ids=[name for name, _ in RIGHT])
def test_right(text):
    assert [str(fault) for fault in faults_in(text)] == []


def test_too_many_models_are_told_even_without_a_base():
    text = "merge_method: ‸slerp\nparameters: {t: 0}\nmodels: ‸[{model: a}, {model: b}, {model: c}]"
    _, places = unmarked(text)
    assert told(text) == [("missing-base", places[0]), ("wrong-number-of-models", places[1])]


def test_a_misread_model_is_not_counted_against_anything():
    text = "merge_method: slerp\nbase_model: a\nparameters: {t: 0}\nmodels: [{model: a}, {‸modle: a}]"
    _, places = unmarked(text)
    assert told(text) == [("unknown-key", places[0])]


@pytest.mark.parametrize(
    "text",
    [
        "merge_method: slerp\n‸base_modle: a\nparameters: {t: 0}\nmodels: [{model: a}, {model: b}]",
        "merge_method: pair_or_three\n‸base_modle: b\nmodels: [{model: a}]",
        "merge_method: nuslerp\n‸base_modle: a\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}, {model: c}]",
    ],
)
def test_a_misread_base_is_neither_missing_nor_miscounted(text):
    _, places = unmarked(text)
    assert told(text) == [("unknown-key", places[0])]


def test_too_many_models_whichever_is_the_base():
    text = "merge_method: slerp\n‸base_modle: a\nparameters: {t: 0}\nmodels: ‸[{model: a}, {model: b}, {model: c}]"
    _, places = unmarked(text)
    assert told(text) == [("unknown-key", places[0]), ("wrong-number-of-models", places[1])]


def test_a_bad_layer_range_does_not_hide_too_many_models():
    text = (
        "merge_method: passthrough\nslices:\n"
        "  - sources: ‸[{model: a, layer_range: ‸[2, 1]}, {model: b, layer_range: [0, 4]}]"
    )
    _, places = unmarked(text)
    assert told(text) == [("wrong-number-of-models", places[0]), ("bad-layer-range", places[1])]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("slerp", "exactly two models, one of them the base"),
        ("nuslerp", "exactly two models besides the base"),
        ("linear", "one model or more"),
        ("model_stock", "two models or more besides the base"),
        ("passthrough", "exactly one model"),
    ],
)
def test_numbers_in_words(name, words):
    assert wanted_models(SPECS[name]) == words


def merged_names(text: str) -> list[list[str]]:
    recipe = recipe_of(text)
    return [[str(member.model) for member in group.merged(SPECS[recipe.method])] for group in groups(recipe)]


def test_merged_members():
    assert merged_names(RIGHT[0][1]) == [["b"]]
    assert merged_names(RIGHT[1][1]) == [["b"]]
    assert merged_names(RIGHT[4][1]) == [["a", "c"]]
    assert merged_names(RIGHT[5][1]) == [["a"]]
    assert merged_names(RIGHT[6][1]) == [["a"]]
    assert merged_names(RIGHT[8][1]) == [["a"]]


def test_groups_know_levels_base_and_layers():
    text = (
        "merge_method: ties\nbase_model: b\nparameters: {weight: 1}\nmodules:\n  m:\n    parameters: {density: 0.5}\n"
        "    slices:\n      - base_model: c\n        parameters: {lambda: 2}\n"
        "        sources: [{model: a, layer_range: [3, 5], parameters: {weight: 2}}]\n"
    )
    (group,) = groups(recipe_of(text))
    assert [dict(level.parameters) for level in group.levels] == [{"lambda": 2}, {"density": 0.5}, {"weight": 1}]
    assert (str(group.base), group.base_path) == ("c", ("modules", "m", "slices", 0, "base_model"))
    assert (group.members[0].layers, group.members[0].level.parameters) == (range(3, 5), {"weight": 2})
    assert group.by_slices
    assert group.base_member is None
