"""What parameters come to for a tensor: levels, filters, gradients, defaults, and sums that are divided by."""

from __future__ import annotations

import pytest

from tests.support.plans import entry, piece, plan_of, recipe, refusal, sliced, source, stack, tensors, weights

MODEL = stack(4) | tensors("model.embed_tokens.weight", "lm_head.weight")
FOUR = {"num_hidden_layers": 4}
AB = {"a": MODEL, "b": MODEL}
BOTH = {"a": FOUR, "b": FOUR}


def one(found: dict[str, object]) -> object:
    """The one value that all tensors have."""
    (value,) = set(found.values())
    return value


# --- levels


@pytest.mark.parametrize("levels", range(5))
def test_the_nearest_level_that_has_a_value_wins(levels: int) -> None:
    """Source, slice, module, recipe, default: each of the levels in turn is the nearest to have one."""
    numbers = [0.1, 0.2, 0.3, 0.4]
    own, of_slice, of_module, of_recipe = ({"density": n} if i >= levels else {} for i, n in enumerate(numbers))
    part = piece(source("a", 0, 4, weight=1, **own), parameters=of_slice)
    module = {"slices": [part], "parameters": of_module}
    data = {"merge_method": "ties", "base_model": "b", "modules": {"rest": module}, "parameters": of_recipe}
    expected = [*numbers, 1.0][levels]
    assert one(weights(plan_of(data, AB, BOTH), "density")) == (expected,)


@pytest.mark.parametrize("levels", range(4))
def test_shared_parameters_have_no_level_of_a_model(levels: int) -> None:
    numbers = [0.2, 0.3, 0.4]
    of_slice, of_module, of_recipe = ({"lambda": n} if i >= levels else {} for i, n in enumerate(numbers))
    module = {"slices": [piece(source("a", 0, 4, weight=1), parameters=of_slice)], "parameters": of_module}
    data = {"merge_method": "ties", "base_model": "b", "modules": {"rest": module}, "parameters": of_recipe}
    assert one(weights(plan_of(data, AB, BOTH), "lambda_")) == [*numbers, 1.0][levels]


def test_every_model_has_its_own_value_or_that_of_the_recipe() -> None:
    data = recipe("linear", entry("a", weight=2), entry("b"), parameters={"weight": 5})
    assert one(weights(plan_of(data, AB))) == (2.0, 5.0)


def test_parameters_of_other_tools_that_change_nothing_are_not_settings() -> None:
    data = recipe("ties", entry("a", weight=1), base_model="b", parameters={"int8_mask": True})
    plan = plan_of(data, AB)
    assert all(step.settings.keys() == {"weight", "density", "lambda_", "normalize", "rescale"} for step in plan.steps)
    assert any("int8_mask" in note for note in plan.notes)


# --- filters


def test_the_first_filter_in_a_tensors_name_wins() -> None:
    conditions = [{"filter": "layers.1", "value": 2}, {"filter": "layers", "value": 3}, {"value": 4}]
    found = weights(plan_of(recipe("linear", entry("a", weight=conditions)), AB))
    assert {name: pair[0] for name, pair in found.items()} == {
        "lm_head.weight": 4.0,
        "model.embed_tokens.weight": 4.0,
        "model.layers.0.w": 3.0,
        "model.layers.1.w": 2.0,
        "model.layers.2.w": 3.0,
        "model.layers.3.w": 3.0,
    }


def test_a_filter_of_a_model_sees_the_input_and_a_shared_one_the_output() -> None:
    """Layer 3 becomes layer 0."""
    own = [{"filter": "layers.3.", "value": 7}, {"value": 1}]
    shared = [{"filter": "layers.0.", "value": 0.5}, {"value": 1}]
    part = piece(source("a", 3, 4, weight=own), source("b", 0, 1, weight=own), source("o", 0, 1))
    plan = plan_of(sliced("ties", part, base_model="o", parameters={"lambda": shared}), {**AB, "o": MODEL}, BOTH)
    assert weights(plan)["model.layers.0.w"] == (7.0, 1.0)
    assert weights(plan, "lambda_")["model.layers.0.w"] == 0.5
    assert weights(plan, "lambda_")["lm_head.weight"] == 1.0


def test_a_filter_that_matches_nothing_leaves_the_next_level_to_speak() -> None:
    own = [{"filter": "lm_head", "value": 9}]
    found = weights(plan_of(recipe("linear", entry("a", weight=own), parameters={"weight": 2}), AB))
    assert found.pop("lm_head.weight") == (9.0,)
    assert one(found) == (2.0,)


def test_a_filtered_value_may_be_a_gradient() -> None:
    own = [{"filter": "layers", "value": [0, 3]}, {"value": 8}]
    found = weights(plan_of(recipe("linear", entry("a", weight=own), parameters={"normalize": False}), AB, BOTH))
    assert [found[f"model.layers.{i}.w"] for i in range(4)] == [(0.0,), (1.0,), (2.0,), (3.0,)]
    assert found["lm_head.weight"] == (8.0,)


def test_a_tensor_that_no_filter_gives_a_needed_value_is_named_with_its_model() -> None:
    data = recipe("linear", entry("a", weight=1), entry("b", weight=[{"filter": "layers.1", "value": 1}]))
    error = refusal(data, AB)
    assert set(error.codes) == {"missing-parameter"}
    lacking = MODEL.keys() - {"model.layers.1.w"}
    assert {fault.subject for fault in error.faults} == lacking
    for fault in error.faults:
        assert "`weight` is needed for model b" in fault.message
        assert fault.subject in fault.message
        assert "filter" in fault.hint


def test_a_needed_shared_parameter_that_no_filter_gives_is_named() -> None:
    data = recipe("slerp", entry("a"), base_model="b", parameters={"t": [{"filter": "layers", "value": 0.5}]})
    error = refusal(data, AB)
    assert {fault.subject for fault in error.faults} == {"lm_head.weight", "model.embed_tokens.weight"}
    assert all(fault.message.startswith("`t` is needed and no level") for fault in error.faults)


# --- gradients of shared parameters


def test_a_shared_gradient_runs_over_the_output_layers() -> None:
    part = piece(source("a", 1, 4))
    plan = plan_of(sliced("slerp", part, base_model="b", parameters={"t": [0, 1, 0]}), AB, BOTH)
    found = weights(plan, "t")
    assert [found[f"model.layers.{i}.w"] for i in range(3)] == [0.0, 1.0, 0.0]
    assert found["lm_head.weight"] == 0.0


def test_a_switch_steps_and_stays_a_switch() -> None:
    data = recipe("linear", entry("a", weight=1), parameters={"normalize": [True, False]})
    found = weights(plan_of(data, AB, BOTH), "normalize")
    assert [found[f"model.layers.{i}.w"] for i in range(4)] == [True, True, True, False]


# --- sums that are divided by


def test_weights_that_cancel_in_one_layer_are_refused_there_only() -> None:
    data = recipe("linear", entry("a", weight=[1, -1]), entry("b", weight=1))
    error = refusal(data, AB, BOTH)
    assert error.codes == ("zero-weight-sum",)
    assert error.faults[0].subject == "model.layers.3.w"
    assert "-1, 1" in error.faults[0].message
    assert "normalize: false" in error.faults[0].hint


def test_weights_that_cancel_but_for_rounding_are_refused() -> None:
    data = recipe(
        "linear", entry("a", weight=[{"filter": "lm_head", "value": 0.1}, {"value": 1}]), entry("b", weight=0.2)
    )
    data["models"].append(entry("c", weight=-0.3))
    error = refusal(data, {**AB, "c": MODEL})
    assert [fault.subject for fault in error.faults] == ["lm_head.weight"]


def test_weights_that_are_all_zero_in_one_place_are_refused() -> None:
    data = recipe("linear", entry("a", weight=[{"filter": "lm_head", "value": 0}, {"value": 1}]), entry("b", weight=0))
    assert [fault.subject for fault in refusal(data, AB).faults] == ["lm_head.weight"]


@pytest.mark.parametrize("data", [{"normalize": False}, {"normalize": [{"filter": "layers", "value": False}]}])
def test_sums_that_are_not_divided_by_may_be_zero(data: dict[str, object]) -> None:
    entries = entry("a", weight=[1, -1]), entry("b", weight=1)
    assert plan_of(recipe("linear", *entries, parameters=data), AB, BOTH).merged == len(MODEL)


def test_ties_divides_by_other_sums() -> None:
    data = recipe("ties", entry("a", weight=1), entry("b", weight=-1), base_model="o")
    assert plan_of(data, {**AB, "o": MODEL}).merged == len(MODEL)


# --- passing through


def test_a_tensor_passed_through_unscaled_is_copied_and_a_scaled_one_merged() -> None:
    scale = [{"filter": "layers.2", "value": 0.5}, {"value": 1}]
    plan = plan_of(recipe("passthrough", entry("a", scale=scale)), AB)
    assert [s.out.name for s in plan.steps if s.action == "merge"] == ["model.layers.2.w"]
    assert {s.reason for s in plan.steps if s.action == "copy"} == {"passed through"}
