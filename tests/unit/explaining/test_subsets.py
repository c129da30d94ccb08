"""Recipes without some of their models, and tensors by groups of layers."""

from __future__ import annotations

from typing import Any

import pytest

from cuvee import methods
from cuvee.errors import RecipeError, UsageError
from cuvee.explaining.layer_groups import layer_groups
from cuvee.explaining.subsets import base_of, models_of, refuse_indivisible, restricted, whole
from cuvee.recipe import Recipe, faults, from_data, to_data
from cuvee.types import ModelRef, TensorSpec


def recipe(method: str, *models: str, **more: Any) -> Recipe:
    entries = [{"model": one, "parameters": {"weight": i + 1.0}} for i, one in enumerate(models)]
    return from_data({"merge_method": method, "models": entries, **more}, methods.specs())


def of(made: Recipe, *kept: str) -> dict[str, Any] | None:
    found = restricted(made, methods.get(made.method).spec, [ModelRef(one) for one in kept])
    if found is None:
        return None
    assert faults(found, methods.specs()) == ()
    return to_data(found)


def entry(name: str, weight: float) -> dict[str, Any]:
    return {"model": name, "parameters": {"weight": weight}}


def test_models_that_stay_keep_their_weights_and_the_base_is_in_every_set() -> None:
    made = recipe("ties", "a", "b", "c", base_model="base", parameters={"density": 0.5}, dtype="bfloat16")
    shared = {"parameters": {"density": 0.5}, "base_model": "base", "dtype": "bfloat16"}
    assert of(made, "a", "c") == {"merge_method": "ties", "models": [entry("a", 1.0), entry("c", 3.0)], **shared}
    assert of(made, "b") == {"merge_method": "ties", "models": [entry("b", 2.0)], **shared}
    assert of(made) == {"merge_method": "passthrough", "models": [{"model": "base"}], "dtype": "bfloat16"}


def test_a_base_that_is_listed_stays_listed() -> None:
    entries = [{"model": "base"}, entry("a", 1.0), entry("b", 2.0)]
    data = {"merge_method": "task_arithmetic", "base_model": "base", "models": entries}
    made = from_data(data, methods.specs())
    assert [str(one) for one in models_of(made, methods.get(made.method).spec)] == ["a", "b"]
    assert of(made, "b")["models"] == [{"model": "base"}, entry("b", 2.0)]
    assert of(made)["models"] == [{"model": "base"}]


def test_without_a_base_nothing_has_no_recipe() -> None:
    made = recipe("linear", "a", "b")
    assert of(made) is None
    assert of(made, "b")["models"] == [entry("b", 2.0)]
    assert base_of(made, methods.get("linear").spec) is None


def test_a_base_that_is_one_more_model_is_left_out_like_the_others() -> None:
    made = recipe("linear", "a", "b", base_model="a")
    spec = methods.get("linear").spec
    assert [str(one) for one in models_of(made, spec)] == ["a", "b"]
    assert of(made, "b") == {"merge_method": "linear", "models": [entry("b", 2.0)]}
    assert of(made, "a", "b") == to_data(made)


def test_one_model_counts_as_it_is_where_the_method_merges_none_alone() -> None:
    made = recipe("nuslerp", "a", "b", dtype="float32")
    assert of(made, "b") == {"merge_method": "passthrough", "models": [{"model": "b"}], "dtype": "float32"}
    assert of(made, "a", "b") == to_data(made)


def test_slices_of_the_same_models_keep_their_layers() -> None:
    slices = [{"sources": [{"model": one, "layer_range": [start, start + 2]} for one in "ab"]} for start in (0, 2)]
    data = {"merge_method": "task_arithmetic", "slices": slices, "base_model": "base", "parameters": {"weight": 0.5}}
    made = from_data(data, methods.specs())
    refuse_indivisible(made, methods.get(made.method).spec)
    assert [[s["model"] for s in piece["sources"]] for piece in of(made, "b")["slices"]] == [["b"], ["b"]]
    nothing = of(made)
    assert nothing["merge_method"] == "passthrough"
    assert nothing["slices"] == [
        {"sources": [{"model": "base", "layer_range": [start, start + 2]}]} for start in (0, 2)
    ]


def test_a_recipe_inside_is_one_part() -> None:
    inner = {"merge_method": "linear", "name": "mix", "models": [entry("a", 1.0), entry("b", 1.0)]}
    data = {"merge_method": "linear", "models": [{"model": inner, "parameters": {"weight": 1}}, entry("c", 2.0)]}
    made = from_data(data, methods.specs())
    assert [str(one) for one in models_of(made, methods.get("linear").spec)] == ["mix", "c"]
    assert [one["model"] for one in of(made, "c")["models"]] == ["c"]
    assert of(made, "mix")["models"][0]["model"]["name"] == "mix"
    assert to_data(whole(made, ModelRef("mix")))["models"][0]["model"]["name"] == "mix"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {
                "merge_method": "passthrough",
                "slices": [{"sources": [{"model": one, "layer_range": [0, 2]}]} for one in "ab"],
            },
            "stacked cannot be left out",
        ),
        (
            {
                "merge_method": "task_arithmetic",
                "parameters": {"weight": 1},
                "slices": [
                    {"base_model": base, "sources": [{"model": one, "layer_range": [0, 2]} for one in "ab"]}
                    for base in ("old", "new")
                ],
            },
            "slices of different bases",
        ),
        ({"merge_method": "krum", "models": [{"model": one} for one in "abcd"]}, "krum merges 3 models or more"),
        ({"merge_method": "ties", "base_model": "base", "models": [{"model": "base"}]}, "found none"),
    ],
)
def test_recipes_whose_models_cannot_be_left_out(data: Any, message: str) -> None:
    made = from_data(data, methods.specs())
    with pytest.raises(RecipeError, match=message):
        refuse_indivisible(made, methods.get(made.method).spec)


def specs(*names: str) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, "float32", (2,)) for name in names}


def test_runs_of_layers_are_as_even_as_can_be() -> None:
    layers = [f"model.layers.{i}.mlp.weight" for i in range(5)]
    held = specs("model.embed_tokens.weight", *layers, "model.norm.weight", "lm_head.weight")
    assert layer_groups(held, {"num_hidden_layers": 5}, 2) == {
        "embeddings": ("model.embed_tokens.weight",),
        "layers 0-2": tuple(layers[:3]),
        "layers 3-4": tuple(layers[3:]),
        "head and rest": ("model.norm.weight", "lm_head.weight"),
    }
    assert list(layer_groups(held, {"num_hidden_layers": 5}, 5))[1:6] == [f"layers {i}" for i in range(5)]


def test_two_stacks_are_told_apart() -> None:
    names = [f"{side}.layers.{i}.w" for side in ("encoder", "decoder") for i in range(2)]
    config = {"encoder_layers": 2, "decoder_layers": 2}
    assert list(layer_groups(specs(*names), config, 1)) == ["encoder.layers 0-1", "decoder.layers 0-1"]


def test_layers_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="1 to 3, the number of layers; found 4"):
        layer_groups(specs(*(f"h.{i}.w" for i in range(3))), None, 4)
    with pytest.raises(UsageError, match="no stack of layers"):
        layer_groups(specs("w"), None, 1)
