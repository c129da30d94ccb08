"""mergekit's spellings become the data they mean; what is not carried out yet is said at its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cuvee.recipe import Branch, Conditions, ModelEntry, Module, Slice, Source, from_data, not_yet
from cuvee.types import ModelRef
from tests.support.marks import recipe_of
from tests.support.specs import SPECS

FULL = """\
merge_method: ties
name: blend
base_model: {model: {path: base, revision: v1}}
dtype: bfloat16
out_dtype: float16
missing: copy
parameters:
  normalize: false
  density: [0.2, 1, 1e-1]
  weight:
    - filter: mlp
      value: [0, 1]
    - value: 0.5
modules:
  text:
    parameters: {lambda: 2}
    models:
      - model: a@main
      - model: b
        parameters: {weight: {filter: '*', value: 3}}
  vision:
    slices:
      - base_model: c
        parameters:
          rescale: true
        sources:
          - {model: d, layer_range: [0, 2], parameters: {density: 1}}
          - {model: e, layer_range: [2, 4]}
          - {model: c, layer_range: [0, 2]}
"""


def test_every_key():
    recipe = recipe_of(FULL)
    assert (recipe.method, recipe.name, recipe.base_model) == ("ties", "blend", ModelRef("base", "v1"))
    assert (recipe.dtype, recipe.out_dtype, recipe.missing) == ("bfloat16", "float16", "copy")
    assert recipe.parameters == {
        "normalize": False,
        "density": (0.2, 1, 0.1),
        "weight": Conditions((Branch("mlp", (0, 1)), Branch(None, 0.5))),
    }
    assert (recipe.models, recipe.slices) == ((), ())
    at = ("modules", "text", "models")
    assert recipe.modules["text"] == Module(
        (
            ModelEntry(ModelRef("a", "main"), {}, (*at, 0)),
            ModelEntry(ModelRef("b"), {"weight": Conditions((Branch("*", 3),))}, (*at, 1)),
        ),
        parameters={"lambda": 2},
        at=("modules", "text"),
    )
    at = ("modules", "vision", "slices", 0)
    assert recipe.modules["vision"].slices == (
        Slice(
            (
                Source(ModelRef("d"), (0, 2), {"density": 1}, (*at, "sources", 0)),
                Source(ModelRef("e"), (2, 4), {}, (*at, "sources", 1)),
                Source(ModelRef("c"), (0, 2), {}, (*at, "sources", 2)),
            ),
            ModelRef("c"),
            {"rescale": True},
            at,
        ),
    )


def test_keys_left_empty_count_as_left_out():
    text = (
        "merge_method: karcher\nmodels:\n  - model: a\n    parameters:\n"
        "base_model:\nslices:\nmodules:\nparameters:\ndtype:\nmissing:\ntokenizer:\ntokenizer_source:\n"
    )
    assert recipe_of(text) == recipe_of("merge_method: karcher\nmodels: [{model: a}]")


def test_defaults():
    recipe = recipe_of("merge_method: karcher\nmodels: [{model: a}]")
    assert (recipe.missing, recipe.dtype, recipe.base_model, recipe.name) == ("refuse", None, None, None)
    assert recipe.models == (ModelEntry(ModelRef("a"), {}, ("models", 0)),)


def test_aliases_and_merges_are_parameters_like_any():
    recipe = recipe_of(
        "merge_method: ties\nbase_model: c\nmodels:\n"
        "  - {model: a, parameters: &p {weight: 1, density: 0.5}}\n"
        "  - {model: b, parameters: {<<: *p, weight: 2}}\n"
    )
    assert recipe.models[1].parameters == {"weight": 2, "density": 0.5}


@pytest.mark.parametrize(
    "words",
    [
        {"tokenizer": {}},
        {"tokenizer": {"source": "union", "tokens": {"<s>": {"source": "a", "force": True}}, "pad_to_multiple_of": 8}},
        {"tokenizer": {"tokens": {"x": {"source": {"kind": "model_token", "model": "a", "token_id": 3}}}}},
        {"tokenizer": {"tokens": {"x": {"source": {"kind": "zero"}}}}},
        {"tokenizer_source": "union"},
        {"tokenizer_source": {"model": {"path": "a"}}},
        {"chat_template": "chatml"},
        {"chat_template": "{% for message in messages %}{% endfor %}"},
    ],
    ids=str,
)
def test_vocabularies_and_templates_can_be_carried_out(words):
    recipe = from_data({"merge_method": "karcher", "models": [{"model": "a"}], **words}, SPECS)
    assert not_yet(recipe) == ()


def test_adapters_of_slices_and_their_bases_can_be_carried_out():
    recipe = recipe_of(
        "merge_method: ties\nparameters: {weight: 1}\nslices:\n"
        "  - {base_model: b+l, sources: [{model: a, layer_range: [0, 1]}]}\n"
        "  - {base_model: b, sources: [{model: a+m, layer_range: [0, 1]}]}\n"
    )
    assert not_yet(recipe) == ()


def test_an_adapter_on_a_result_is_left_for_later():
    inner = from_data({"merge_method": "karcher", "models": [{"model": "a"}]}, SPECS)
    outer = from_data({"merge_method": "karcher", "models": [{"model": "inner+l"}]}, SPECS)
    (fault,) = not_yet(replace(outer, nested={"inner": inner}))
    assert (fault.code, fault.subject) == ("not-yet", "inner+l")


def test_nothing_is_left_for_later_in_a_plain_recipe():
    assert not_yet(recipe_of(FULL)) == ()
