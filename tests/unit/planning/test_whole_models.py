"""Models merged whole: which tensors meet, where they stand along a gradient, what the base does."""

from __future__ import annotations

import pytest
import torch

from cuvee.planning import Piece, referenced
from cuvee.types import ModelRef
from tests.support.merging import decoder
from tests.support.plans import (
    Data,
    entry,
    named,
    piece,
    plan_of,
    recipe,
    source,
    sources,
    stack,
    tensors,
    weights,
)

GRADIENT = recipe("linear", entry("a", weight=[0, 1]), entry("b", weight=[{"value": [4, 2, 0]}]))
LAYERS = {"num_hidden_layers": 3}


def linear(*models: str, **more: object) -> Data:
    return recipe("linear", *(entry(m, weight=1) for m in models), **more)


# --- which tensors meet


def test_every_tensor_meets_those_of_its_name() -> None:
    model = decoder(0)
    plan = plan_of(linear("a", "b"), {"a": model, "b": model})
    assert sources(plan) == {name: [("a", name), ("b", name)] for name in model}
    assert (plan.merged, plan.copied, plan.lost, plan.left_out) == (len(model), 0, 0, 0)
    assert all(step.base is None and step.action == "merge" for step in plan.steps)


def test_steps_stand_in_the_order_in_which_one_counts() -> None:
    model = stack(12) | tensors("model.embed_tokens.weight", "lm_head.weight")
    plan = plan_of(linear("a"), {"a": model})
    assert [s.out.name for s in plan.steps] == [
        "lm_head.weight",
        "model.embed_tokens.weight",
        *(f"model.layers.{i}.w" for i in range(12)),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["0"],
        ["0.weight", "0.bias", "2.weight"],
        ["block1.conv2.weight", "layer1.0.bn1.running_mean"],
        ["h.0.w", "h.2.w", "h.3.w"],
        [""],
        ["a.b.", ".a", "..", "a b/c\u00e9"],
        ["model.layers.00.w", "model.layers.01.w"],
    ],
)
def test_names_of_any_kind_are_merged(names: list[str]) -> None:
    model = tensors(*names)
    plan = plan_of(linear("a", "b"), {"a": model, "b": model})
    assert sources(plan) == {name: [("a", name), ("b", name)] for name in names}


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_scalars_and_empty_tensors_are_merged(shape: tuple[int, ...]) -> None:
    model = {"w": torch.zeros(shape)}
    (step,) = plan_of(linear("a", "b"), {"a": model, "b": model}).steps
    assert (step.out.shape, step.action) == (shape, "merge")


def test_the_shape_written_is_that_of_the_inputs_and_the_layer_that_of_the_name() -> None:
    model = decoder(0)
    steps = named(plan_of(linear("a"), {"a": model}))
    assert {name: step.out.shape for name, step in steps.items()} == {n: tuple(t.shape) for n, t in model.items()}
    assert steps["model.layers.1.mlp.up_proj.weight"].layer == ("model.layers", 1)
    assert steps["model.norm.weight"].layer is None


# --- which models


def test_models_are_numbered_in_the_order_of_mention_the_base_first() -> None:
    model = stack(2)
    data = recipe("task_arithmetic", entry("b", weight=1), entry("o", weight=1), entry("a", weight=1), base_model="o")
    plan = plan_of(data, dict.fromkeys("abo", model))
    assert [str(m.ref) for m in plan.models] == ["o", "b", "a"]
    assert [m.is_base for m in plan.models] == [True, False, False]
    assert referenced(plan.recipe) == (ModelRef("o"), ModelRef("b"), ModelRef("a"))


def test_facts_of_the_models_are_told() -> None:
    model = stack(3) | {"n": torch.zeros(5, dtype=torch.bfloat16), "i": torch.zeros(1, dtype=torch.int64)}
    (facts,) = plan_of(linear("a"), {"a": model}, {"a": LAYERS}).models
    assert (facts.tensors, facts.parameters, facts.nbytes) == (5, 12, 3 * 8 + 10 + 8)
    assert facts.dtypes == ("bfloat16", "float32", "int64")
    assert facts.layers == {"model.layers": 3}


# --- the base


@pytest.mark.parametrize("listed", [False, True])
def test_the_base_of_deltas_is_no_input(listed: bool) -> None:
    model = stack(2)
    entries = [entry("a", weight=1), *([entry("o", weight=5)] if listed else []), entry("b", weight=2)]
    plan = plan_of(recipe("ties", *entries, base_model="o"), dict.fromkeys("abo", model))
    assert sources(plan)["model.layers.0.w"] == [("o", "model.layers.0.w"), *((m, "model.layers.0.w") for m in "ab")]
    assert set(weights(plan).values()) == {(1.0, 2.0)}
    assert all(step.base == Piece(0, step.out.name) for step in plan.steps)


def test_nothing_but_the_base_is_the_base() -> None:
    model = stack(1)
    (step,) = plan_of(recipe("ties", entry("o", weight=1), base_model="o"), {"o": model}).steps
    assert (step.action, step.inputs, step.base) == ("copy", (Piece(0, "model.layers.0.w"),), None)
    assert step.reason == "no model besides the base"


def test_a_base_that_a_linear_merge_does_not_list_is_one_more_input() -> None:
    data = recipe("linear", entry("a"), entry("b", weight=3), base_model="o", parameters={"weight": 1})
    plan = plan_of(data, dict.fromkeys("abo", stack(1)))
    assert [m for m, _ in sources(plan)["model.layers.0.w"]] == ["a", "b", "o"]
    assert weights(plan) == {"model.layers.0.w": (1.0, 3.0, 1.0)}
    assert plan.steps[0].base is None


def test_a_base_that_a_linear_merge_lists_counts_once() -> None:
    data = recipe("linear", entry("a", weight=1), entry("o", weight=3), base_model="o")
    plan = plan_of(data, dict.fromkeys("ao", stack(1)))
    assert weights(plan) == {"model.layers.0.w": (1.0, 3.0)}
    assert [m for m, _ in sources(plan)["model.layers.0.w"]] == ["a", "o"]


# --- gradients


def test_a_gradient_runs_over_the_layers_and_everything_else_takes_its_beginning() -> None:
    model = stack(3) | tensors("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
    plan = plan_of(GRADIENT, {"a": model, "b": model}, {"a": LAYERS, "b": LAYERS})
    assert weights(plan) == {
        "model.layers.0.w": (0.0, 4.0),
        "model.layers.1.w": (0.5, 2.0),
        "model.layers.2.w": (1.0, 0.0),
        **dict.fromkeys(["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"], (0.0, 4.0)),
    }


def test_every_stack_has_a_gradient_of_its_own() -> None:
    model = stack(2, "encoder.block") | stack(3, "decoder.block")
    config = {"num_layers": 2, "num_decoder_layers": 3}
    plan = plan_of(GRADIENT, {"a": model, "b": model}, {"a": config, "b": config})
    found = {name: pair[0] for name, pair in weights(plan).items()}
    assert found == {
        "encoder.block.0.w": 0.0,
        "encoder.block.1.w": 1.0,
        "decoder.block.0.w": 0.0,
        "decoder.block.1.w": 0.5,
        "decoder.block.2.w": 1.0,
    }


def test_all_tensors_of_a_layer_stand_at_its_place_experts_too() -> None:
    model = tensors(*(f"model.layers.{i}.mlp.experts.{e}.w" for i in range(3) for e in range(3)))
    plan = plan_of(GRADIENT, {"a": model, "b": model}, {"a": LAYERS, "b": LAYERS})
    assert weights(plan)["model.layers.1.mlp.experts.0.w"] == weights(plan)["model.layers.1.mlp.experts.2.w"]
    assert {pair[0] for pair in weights(plan).values()} == {0.0, 0.5, 1.0}


def test_the_only_layer_takes_the_end_of_a_gradient() -> None:
    model = stack(1) | tensors("model.embed_tokens.weight")
    config = {"num_hidden_layers": 1}
    plan = plan_of(GRADIENT, {"a": model, "b": model}, {"a": config, "b": config})
    assert weights(plan) == {"model.embed_tokens.weight": (0.0, 4.0), "model.layers.0.w": (1.0, 0.0)}


@pytest.mark.xfail(strict=True, reason="the first number of a name is taken for the layer; 0 of 1 stands at the end")
def test_a_model_inside_a_sequential_has_its_gradient_over_its_layers() -> None:
    """The state dict of a sentence transformer."""
    model = stack(3, "0.auto_model.encoder.layer") | tensors("0.auto_model.embeddings.word_embeddings.weight")
    found = weights(plan_of(GRADIENT, {"a": model, "b": model}))
    assert found["0.auto_model.encoder.layer.0.w"] == (0.0, 4.0)
    assert found["0.auto_model.encoder.layer.1.w"] == (0.5, 2.0)
    assert found["0.auto_model.embeddings.word_embeddings.weight"] == (0.0, 4.0)


def test_a_head_of_several_parts_is_no_stack_of_layers() -> None:
    model = stack(3) | tensors("classifier.0.weight", "classifier.1.weight")
    plan = plan_of(GRADIENT, {"a": model, "b": model}, {"a": LAYERS, "b": LAYERS})
    assert weights(plan)["classifier.1.weight"] == (0.0, 4.0)


def test_the_last_layer_takes_the_end_of_a_gradient_though_extra_ones_follow() -> None:
    config = {"num_hidden_layers": 3, "num_nextn_predict_layers": 1}
    plan = plan_of(GRADIENT, {"a": stack(4), "b": stack(4)}, {"a": config, "b": config})
    assert weights(plan)["model.layers.2.w"] == (1.0, 0.0)


# --- not carried out


def test_a_recipe_of_slices_names_its_models_once() -> None:
    slices = [piece(source("a", 0, 1)), piece(source("b", 0, 1)), piece(source("a", 1, 2), base_model="o")]
    data = {"merge_method": "slerp", "slices": slices, "base_model": "c", "parameters": {"t": 0.5}}
    models = dict.fromkeys("abco", stack(2))
    assert [str(m.ref) for m in plan_of(data, models).models] == ["c", "a", "b", "o"]
