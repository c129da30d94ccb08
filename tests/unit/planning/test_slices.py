"""Models put together from runs of layers: which source layer becomes which output layer, and what is left out."""

from __future__ import annotations

import pytest

from cuvee.errors import CuveeError, InputError, RecipeError
from tests.support.merging import decoder
from tests.support.plans import (
    entry,
    named,
    piece,
    plan_of,
    refusal,
    sliced,
    source,
    sources,
    stack,
    stacked,
    tensors,
    weights,
)

OUTER = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
MODEL = stack(4) | tensors(*OUTER)
FOUR = {"num_hidden_layers": 4, "other": "kept"}
BOTH = {"a": FOUR, "b": FOUR}


# --- layers


def test_layers_are_renumbered_in_the_order_of_the_slices() -> None:
    plan = plan_of(stacked(("a", 2, 4), ("b", 0, 1), ("a", 0, 1)), {"a": MODEL, "b": MODEL}, BOTH)
    found = {n: [(m, t)] for n, [(m, t)] in sources(plan).items() if "layers" in n}
    assert found == {
        "model.layers.0.w": [("a", "model.layers.2.w")],
        "model.layers.1.w": [("a", "model.layers.3.w")],
        "model.layers.2.w": [("b", "model.layers.0.w")],
        "model.layers.3.w": [("a", "model.layers.0.w")],
    }
    assert [named(plan)[name].layer for name in found] == [("model.layers", o) for o in range(4)]


def test_what_stands_before_the_layers_comes_from_the_first_slice_and_the_rest_from_the_last() -> None:
    plan = plan_of(stacked(("a", 0, 2), ("c", 0, 1), ("b", 1, 4)), dict.fromkeys("abc", MODEL), {**BOTH, "c": FOUR})
    found = sources(plan)
    assert found["model.embed_tokens.weight"] == [("a", "model.embed_tokens.weight")]
    assert found["model.norm.weight"] == [("b", "model.norm.weight")]
    assert found["lm_head.weight"] == [("b", "lm_head.weight")]


def test_layers_and_outer_tensors_that_nobody_asks_for_are_counted() -> None:
    plan = plan_of(stacked(("a", 0, 2), ("b", 3, 4)), {"a": MODEL, "b": MODEL}, BOTH)
    of_a = {"model.layers.2.w", "model.layers.3.w", "model.norm.weight", "lm_head.weight"}
    of_b = {"model.layers.0.w", "model.layers.1.w", "model.layers.2.w", "model.embed_tokens.weight"}
    assert (plan.lost, plan.left_out) == (0, len(of_a) + len(of_b))


def test_only_the_number_of_the_stack_is_changed() -> None:
    model = tensors(*(f"model.layers.{i}.mlp.experts.{e}.w" for i in range(3) for e in range(3)))
    found = sources(plan_of(stacked(("a", 2, 3)), {"a": model}, {"a": {"num_hidden_layers": 3}}))
    assert found == {
        f"model.layers.0.mlp.experts.{e}.w": [("a", f"model.layers.2.mlp.experts.{e}.w")] for e in range(3)
    }


def test_a_repeated_layer_is_read_for_each_of_its_places() -> None:
    plan = plan_of(stacked(("a", 1, 2), ("a", 1, 2)), {"a": stack(2)}, {"a": {"num_hidden_layers": 2}})
    assert sources(plan) == {f"model.layers.{o}.w": [("a", "model.layers.1.w")] for o in range(2)}


def test_tensors_that_are_a_layer_by_themselves_are_stacked() -> None:
    model = tensors("scales.0", "scales.1", "scales.2", "w")
    found = sources(plan_of(stacked(("a", 0, 1), ("a", 2, 3)), {"a": model}))
    assert found == {"scales.0": [("a", "scales.0")], "scales.1": [("a", "scales.2")], "w": [("a", "w")]}


def test_a_sequential_is_a_stack_without_a_name() -> None:
    found = sources(plan_of(stacked(("a", 2, 3), ("a", 0, 1)), {"a": tensors("0.weight", "1.weight", "2.weight")}))
    assert found == {"0.weight": [("a", "2.weight")], "1.weight": [("a", "0.weight")]}


def test_the_same_layers_in_the_same_order_are_the_model() -> None:
    model = decoder(0)
    plan = plan_of(stacked(("a", 0, 2)), {"a": model}, {"a": {"num_hidden_layers": 2}})
    assert sources(plan) == {name: [("a", name)] for name in model}
    assert (plan.config_changes, plan.left_out) == ({}, 0)


# --- several sources, bases, gradients


def test_sources_of_one_slice_meet_layer_by_layer() -> None:
    data = sliced("linear", piece(source("a", 0, 2, weight=1), source("b", 2, 4, weight=3)))
    plan = plan_of(data, {"a": MODEL, "b": MODEL}, BOTH)
    assert sources(plan)["model.layers.1.w"] == [("a", "model.layers.1.w"), ("b", "model.layers.3.w")]
    assert sources(plan)["lm_head.weight"] == [("a", "lm_head.weight"), ("b", "lm_head.weight")]
    assert set(weights(plan).values()) == {(1.0, 3.0)}


def test_a_gradient_begins_anew_in_every_slice() -> None:
    pieces = [piece(source("a", i, j, weight=w)) for i, j, w in ((0, 3, [0, 1]), (2, 4, [2, 3]), (3, 4, [4, 5]))]
    plan = plan_of(sliced("linear", *pieces, parameters={"normalize": False}), {"a": MODEL}, {"a": FOUR})
    found = weights(plan)
    assert [found[f"model.layers.{i}.w"] for i in range(6)] == [(0.0,), (0.5,), (1.0,), (2.0,), (3.0,), (5.0,)]
    assert found["model.embed_tokens.weight"] == (0.0,)
    assert found["model.norm.weight"] == found["lm_head.weight"] == (4.0,)


def test_a_base_that_is_no_source_gives_the_layers_of_the_sources() -> None:
    data = sliced("task_arithmetic", piece(source("a", 1, 3, weight=1), source("b", 1, 3, weight=1)), base_model="o")
    plan = plan_of(data, dict.fromkeys("abo", MODEL), {**BOTH, "o": FOUR})
    assert sources(plan)["model.layers.0.w"] == [(m, "model.layers.1.w") for m in "oab"]
    assert sources(plan)["lm_head.weight"] == [(m, "lm_head.weight") for m in "oab"]


def test_a_listed_base_gives_the_layers_it_is_listed_with() -> None:
    data = sliced("task_arithmetic", piece(source("a", 1, 3, weight=1), source("o", 0, 2)), base_model="o")
    plan = plan_of(data, {"a": MODEL, "o": MODEL}, {"a": FOUR, "o": FOUR})
    assert sources(plan)["model.layers.0.w"] == [("o", "model.layers.0.w"), ("a", "model.layers.1.w")]
    assert set(weights(plan).values()) == {(1.0,)}


def test_the_base_may_meet_other_layers_of_its_own() -> None:
    data = sliced("slerp", piece(source("o", 0, 1), source("o", 2, 3)), base_model="o", parameters={"t": 0.5})
    plan = plan_of(data, {"o": MODEL}, {"o": FOUR})
    assert sources(plan)["model.layers.0.w"] == [("o", "model.layers.0.w"), ("o", "model.layers.2.w")]
    assert all(len(step.inputs) == 1 and step.base is not None for step in plan.steps)


def test_a_slice_may_have_a_base_of_its_own() -> None:
    pieces = [piece(source("a", 0, 1)), piece(source("a", 1, 2), base_model="p")]
    data = sliced("slerp", *pieces, base_model="o", parameters={"t": 0.5})
    found = sources(plan_of(data, dict.fromkeys("aop", MODEL), dict.fromkeys("aop", FOUR)))
    assert found["model.layers.0.w"] == [("o", "model.layers.0.w"), ("a", "model.layers.0.w")]
    assert found["model.layers.1.w"] == [("p", "model.layers.1.w"), ("a", "model.layers.1.w")]
    assert found["model.embed_tokens.weight"][0][0] == "o"
    assert found["lm_head.weight"][0][0] == "p"


def test_the_base_of_a_linear_stack_gives_only_its_configuration() -> None:
    data = sliced("linear", piece(source("a", 0, 1, weight=1)), base_model="o")
    plan = plan_of(data, {"a": MODEL, "o": MODEL}, {"a": FOUR, "o": {**FOUR, "other": "of the base"}})
    assert {m for found in sources(plan).values() for m, _ in found} == {"a"}
    assert '"of the base"' in plan.config_text


def test_a_base_with_too_few_layers_is_refused() -> None:
    data = sliced("task_arithmetic", piece(source("a", 0, 4, weight=1)), base_model="o")
    error = refusal(data, {"a": MODEL, "o": stack(2) | tensors(*OUTER)}, {"a": FOUR, "o": {"num_hidden_layers": 2}})
    assert set(error.codes) <= {"missing-tensor", "layers-out-of-range"}
    assert "o" in str(error)


# --- what is refused


def test_a_range_beyond_the_layers_is_refused_for_every_model_at_once() -> None:
    error = refusal(stacked(("a", 0, 5), ("b", 3, 9)), {"a": MODEL, "b": MODEL}, BOTH)
    assert isinstance(error, RecipeError)
    assert error.codes == ("layers-out-of-range",) * 2
    assert "a has 4 layers, 0 to 3; layer_range asks for [0, 5]" in error.faults[0].message
    assert "b has 4 layers, 0 to 3; layer_range asks for [3, 9]" in error.faults[1].message


def test_a_range_of_no_layers_is_refused() -> None:
    assert refusal(stacked(("a", 2, 2)), {"a": MODEL}, {"a": FOUR}).codes == ("bad-layer-range",)


def test_slices_need_a_stack() -> None:
    error = refusal(stacked(("a", 0, 1)), {"a": tensors("w", "block1.conv2.weight")})
    assert isinstance(error, RecipeError)
    assert error.codes == ("no-layer-stack",)


def test_slices_of_a_model_with_two_stacks_name_both() -> None:
    model = stack(2, "encoder.block") | stack(2, "decoder.block")
    error = refusal(stacked(("a", 0, 1)), {"a": model}, {"a": {"num_layers": 2, "num_decoder_layers": 2}})
    assert error.codes == ("no-layer-stack",)
    assert "decoder.block, encoder.block" in str(error)
    assert "`modules:`" in error.faults[0].hint


def test_a_tensor_that_only_one_source_of_a_slice_has_is_refused() -> None:
    data = sliced("linear", piece(source("a", 0, 1, weight=1), source("b", 1, 2, weight=1)))
    other = MODEL | tensors("model.layers.1.bias")
    error = refusal(data, {"a": MODEL, "b": other}, BOTH)
    assert isinstance(error, InputError)
    assert error.codes == ("missing-tensor",)
    assert "model.layers.0.bias: in b but not in a" in str(error)


def test_layers_of_one_model_that_have_other_shapes_do_not_meet() -> None:
    model = tensors("model.layers.0.w") | tensors("model.layers.1.w", shape=(3,)) | tensors("model.norm.weight")
    data = sliced("linear", piece(source("a", 0, 1, weight=1), source("a", 1, 2, weight=1)))
    assert refusal(data, {"a": model}, {"a": {"num_hidden_layers": 2}}).codes == ("shape-mismatch",)


@pytest.mark.parametrize("config", [{"model_type": "x"}, {"num_hidden_layers": 7}, {}])
def test_a_configuration_that_does_not_count_the_layers_is_refused_by_name(config: dict[str, object]) -> None:
    """The second model's layers are there; its configuration says nothing, or something else, of them."""
    with pytest.raises(CuveeError, match="b"):
        plan_of(stacked(("a", 0, 2), ("b", 1, 2)), {"a": MODEL, "b": MODEL}, {"a": FOUR, "b": config})


@pytest.mark.parametrize("giver", ["a", "o"])
def test_a_configuration_that_cannot_be_told_the_number_of_layers_is_not_carried_over(giver: str) -> None:
    """It comes from the first model, or from a base that gives nothing else."""
    data = stacked(("a", 0, 2), ("b", 0, 4), **({"base_model": "o"} if giver == "o" else {}))
    configs: dict[str, dict[str, object]] = {"a": FOUR, "b": FOUR, giver: {"layers": 4}}
    models = {"a": MODEL, "b": MODEL, "o": tensors("of.another.kind")}
    assert refusal(data, models, configs).code in {"no-layer-stack", "bad-config"}


def test_layers_that_are_not_there_are_not_passed_over() -> None:
    """Of two runs of equal length without a configuration neither is taken for the layers."""
    error = refusal(stacked(("a", 0, 2), ("b", 1, 9)), {"a": stack(3), "b": stack(2) | stack(2, "extra")})
    assert error.codes[0] in {"layers-out-of-range", "no-layer-stack"}


@pytest.mark.parametrize("more", [{}, {"layer_types": ["x", "y"]}])
def test_layers_for_further_tokens_do_not_become_layers(more: dict[str, object]) -> None:
    """DeepSeek-V3 stores one such layer behind its last."""
    config = {"num_hidden_layers": 2, "num_nextn_predict_layers": 1, **more}
    error = refusal(stacked(("a", 0, 3)), {"a": stack(3)}, {"a": config})
    assert error.codes == ("layers-out-of-range",)


@pytest.mark.parametrize("part", ["w", "rotary_emb.inv_freq"])
def test_layers_numbered_with_leading_zeros_are_stacked_or_refused_plainly(part: str) -> None:
    model = tensors(*(f"h.{i:02d}.{part}" for i in range(3)))
    found: object
    try:
        found = sources(plan_of(stacked(("a", 1, 3)), {"a": model}))
    except CuveeError as error:
        found = error.codes
    right = {f"h.{o:02d}.{part}": [("a", f"h.{o + 1:02d}.{part}")] for o in range(2)}
    assert found in (right, ("no-layer-stack",))


# --- outside the layers


STRAY = {"a": MODEL | tensors("final.x"), "b": MODEL}
TWO = stacked(("a", 0, 2), ("b", 2, 4))


def test_a_tensor_that_only_the_other_slices_have_is_refused_by_name() -> None:
    error = refusal(TWO, STRAY, BOTH)
    assert error.codes == ("missing-tensor",)
    assert "tensor final.x: in a but not in b" in str(error)


def test_or_copied_where_the_recipe_says_so() -> None:
    plan = plan_of({**TWO, "missing": "copy"}, STRAY, BOTH)
    assert sources(plan)["final.x"] == [("a", "final.x")]
    assert named(plan)["final.x"].reason == "not in b"


def test_one_that_the_models_compute_is_copied() -> None:
    name = "model.rotary_emb.inv_freq"
    plan = plan_of(TWO, {"a": MODEL | tensors(name), "b": MODEL}, BOTH)
    assert named(plan)[name].action == "copy"


def test_entries_are_of_no_use_in_slices() -> None:
    assert refusal({**stacked(("a", 0, 1)), "models": [entry("a")]}, {"a": MODEL}).codes


def test_the_parts_that_are_suggested_can_be_told_apart() -> None:
    model = stack(2, "model.layers") | stack(2, "model.vision_model.encoder.layers")
    config = {"num_hidden_layers": 2, "vision_config": {"num_hidden_layers": 2}}
    (fault,) = refusal(stacked(("a", 0, 1)), {"a": model}, {"a": config}).faults
    assert "(`model.layers`, `model.vision_model.encoder`;" in (fault.hint or "")
