"""Dtypes, and what the output's `config.json` says: the donor's text, changed only where the merge changed a fact."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from cuvee.errors import CuveeError
from tests.support.plans import Data, Tensors, entry, named, plan_of, recipe, refusal, stack, stacked, tensors

PAIRS = {
    ("float32", "float32"): "float32",
    ("bfloat16", "bfloat16"): "bfloat16",
    ("float16", "float16"): "float16",
    ("bfloat16", "float16"): "float32",
    ("float16", "float32"): "float32",
    ("bfloat16", "float32"): "float32",
    ("float32", "float64"): "float64",
    ("float16", "float64"): "float64",
}


def linear(*models: str, **more: Any) -> Data:
    return recipe("linear", *(entry(m, weight=1) for m in models), **more)


def of(dtype: str, *names: str) -> Tensors:
    return tensors(*(names or ("w",)), dtype=getattr(torch, dtype))


def changes(data: Data, models: dict[str, Tensors], *configs: dict[str, Any]) -> dict[str, Any]:
    """What changes in the configuration; the text must say the same, and nothing else must change."""
    plan = plan_of(data, models, dict(zip("abc", configs)))
    before, after = configs[plan.donor], json.loads(plan.config_text)
    expected = json.loads(json.dumps(before))
    for path, value in plan.config_changes.items():
        target = expected
        *outer, key = path.split(".")
        for part in outer:
            target = target[part]
        target[key] = value
    assert after == expected
    return dict(plan.config_changes)


def notes_of(*configs: dict[str, Any] | None) -> tuple[str, ...]:
    given = {m: config for m, config in zip("abc", configs) if config is not None}
    models = dict.fromkeys("abc"[: len(configs)], tensors("w"))
    return plan_of(linear(*models), models, given).notes


# --- dtypes


@pytest.mark.parametrize("pair", [*PAIRS, *(p[::-1] for p in PAIRS if p[0] != p[1])])
def test_two_dtypes_meet_in_the_narrowest_that_holds_both(pair: tuple[str, str]) -> None:
    (step,) = plan_of(linear("a", "b"), {"a": of(pair[0]), "b": of(pair[1])}).steps
    assert step.out.dtype == (PAIRS.get(pair) or PAIRS[pair[::-1]])
    assert step.work == ("float64" if "float64" in pair else "float32")


def test_three_dtypes_meet_whatever_their_order() -> None:
    for order in (("bfloat16", "float16", "float64"), ("float64", "bfloat16", "float16")):
        (step,) = plan_of(linear("a", "b", "c"), {m: of(d) for m, d in zip("abc", order)}).steps
        assert step.out.dtype == "float64"


def test_the_base_takes_part() -> None:
    data = recipe("ties", entry("a", weight=1), base_model="o")
    (step,) = plan_of(data, {"a": of("bfloat16"), "o": of("float32")}).steps
    assert step.out.dtype == "float32"


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"out_dtype": "float16"}, "float16"),
        ({"dtype": "float64", "out_dtype": "float16"}, "float16"),
    ],
)
def test_the_recipe_says_what_is_written(asked: Data, dtype: str) -> None:
    models = {"a": {**of("float32"), "i": torch.ones(1, dtype=torch.int64)}}
    steps = named(plan_of({**linear("a"), **asked}, models))
    assert (steps["w"].out.dtype, steps["i"].out.dtype) == (dtype, "int64")
    assert {s.out.dtype for s in plan_of({**stacked(("a", 0, 1)), **asked}, {"a": stack(2)}).steps} == {dtype}


def test_doubles_are_worked_in_as_doubles_whatever_is_written() -> None:
    (step,) = plan_of(linear("a", out_dtype="bfloat16"), {"a": of("float64")}).steps
    assert (step.out.dtype, step.work) == ("bfloat16", "float64")
    (step,) = plan_of(linear("a", out_dtype="float64"), {"a": of("bfloat16")}).steps
    assert step.work == "float64"


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_the_configuration_says_the_dtype_written(key: str) -> None:
    data, model = linear("a", out_dtype="bfloat16"), {"a": of("float32")}
    assert changes(data, model, {key: "float32", "x": 1}) == {key: "bfloat16"}
    assert changes(data, model, {"x": 1}) == {}
    assert changes(data, model, {key: None}) == {}


def test_a_configuration_that_was_wrong_is_put_right_where_the_recipe_says_what_to_write() -> None:
    model = {"a": of("bfloat16")}
    assert changes(linear("a", dtype="bfloat16"), model, {"dtype": "float32"}) == {"dtype": "bfloat16"}
    assert changes(linear("a"), model, {"dtype": "float32"}) == {}


def test_every_section_that_says_a_dtype_is_changed() -> None:
    config = {"dtype": "float32", "text_config": {"dtype": "float32", "a": {"torch_dtype": "float16"}}, "b": {"c": {}}}
    found = changes(linear("a", out_dtype="bfloat16"), {"a": of("float32")}, config)
    assert found == {"dtype": "bfloat16", "text_config.dtype": "bfloat16", "text_config.a.torch_dtype": "bfloat16"}


def test_a_dtype_of_something_else_stays() -> None:
    config = {"dtype": "float32", "cache_config": {"dtype": "int4"}}
    assert changes(linear("a", out_dtype="bfloat16"), {"a": of("float32")}, config) == {"dtype": "bfloat16"}


@pytest.mark.parametrize("where", ["", "text_config"])
def test_what_is_said_of_quantisation_is_left_out(where: str) -> None:
    said = {"quantization_config": {"quant_method": "fp8", "dtype": "float32"}}
    config = {"dtype": "float32", **({where: {"x": 1, **said}} if where else said), "y": 2}
    plan = plan_of(linear("a"), {"a": of("float32")}, {"a": config})
    path = f"{where}.quantization_config".lstrip(".")
    assert json.loads(plan.config_text or "") == {"dtype": "float32", **({where: {"x": 1}} if where else {}), "y": 2}
    assert plan.config_changes == {path: None}
    assert f"config: {path} left out, as the output is not quantised" in plan.notes


def test_the_dtype_of_most_entries_counts() -> None:
    mixed = {"w": torch.zeros(100).bfloat16(), "norm": torch.zeros(3), "ids": torch.zeros(999, dtype=torch.int64)}
    assert changes(linear("a"), {"a": mixed}, {"dtype": "bfloat16"}) == {}
    assert changes(linear("a", "b"), {"a": mixed, "b": {**mixed, "w": torch.zeros(100)}}, {"dtype": "bfloat16"}) == {
        "dtype": "float32"
    }


def test_a_donor_that_is_written_in_its_own_dtype_is_not_corrected() -> None:
    assert changes(linear("a"), {"a": of("float32")}, {"dtype": "bfloat16"}) == {}


# --- whose configuration


def test_the_first_model_gives_its_configuration_and_the_base_before_it() -> None:
    models, configs = dict.fromkeys("abo", tensors("w")), {m: {"of": m} for m in "abo"}
    assert json.loads(plan_of(linear("b", "a"), models, configs).config_text) == {"of": "b"}
    plan = plan_of(recipe("ties", entry("a", weight=1), base_model="o"), models, configs)
    assert json.loads(plan.config_text) == {"of": "o"}
    assert (plan.donor, str(plan.models[plan.donor].ref)) == (0, "o")
    assert json.loads(plan_of(linear("a", base_model="a"), models, configs).config_text) == {"of": "a"}


def test_a_bare_state_dict_has_no_configuration_to_give() -> None:
    plan = plan_of(linear("a", "b"), {"a": tensors("w"), "b": tensors("w")}, {"b": {"x": 1}})
    assert (plan.config_text, plan.config_changes) == (None, {})


def test_a_configuration_of_nothing_stays_one() -> None:
    plan = plan_of(linear("a"), {"a": tensors("w")}, {"a": {}})
    assert json.loads(plan.config_text) == {}


# --- settings on which the models disagree


def test_a_setting_that_differs_is_told_with_both_values_and_whose_stays() -> None:
    (note,) = notes_of({"rope_theta": 1e4}, {"rope_theta": 1e6})
    assert note == "config: `rope_theta` is 10000.0 in a and 1000000.0 in b; the output keeps the former"


def test_settings_that_only_one_model_has_are_told() -> None:
    notes = notes_of({"x": 1}, {"y": 2})
    assert ["`x` is 1 in a and not set in b" in notes[0], "`y` is not set in a and 2 in b" in notes[1]] == [True, True]


def test_a_long_setting_is_cut() -> None:
    (note,) = notes_of({"x": list(range(1000))}, {"x": [1]})
    assert len(note) < 200
    assert "[0, 1, 2" in note


def test_every_model_is_compared_with_the_donor() -> None:
    assert [note.split(" in ")[-1][0] for note in notes_of({"x": 1}, {"x": 2}, {"x": 3})] == ["b", "c"]


@pytest.mark.parametrize(
    "key", ["_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "architectures"]
)
def test_settings_that_say_nothing_of_the_model_are_not_told(key: str) -> None:
    assert notes_of({key: "x", "y": 1}, {key: "z", "y": 1}) == ()


def test_models_without_a_configuration_differ_in_nothing() -> None:
    assert notes_of({"x": 1}, None) == ()
    assert notes_of(None, None) == ()


def test_a_configuration_that_is_not_carried_over_is_told() -> None:
    (note,) = notes_of(None, {"x": 1})
    assert note == "a has no config.json, so the output gets none; b has one that may fit"


@pytest.mark.parametrize("outer", ["rope_parameters", "text_config", "rope_scaling"])
def test_settings_in_sections_are_compared(outer: str) -> None:
    """Newer configurations hold the base of the rotary embedding in a mapping, those of VLMs in the text section."""
    (note,) = notes_of({outer: {"rope_theta": 1e4}}, {outer: {"rope_theta": 1e6}})
    assert "rope_theta" in note


# --- restacked layers


def test_the_section_that_counts_the_layers_is_changed_and_no_other() -> None:
    config = {
        "text_config": {"num_hidden_layers": 2, "layer_types": ["x", "y"], "eos_token_id": [1, 2]},
        "audio_config": {"num_hidden_layers": 5, "layer_types": ["p", "q"]},
    }
    found = changes(stacked(("a", 1, 2), ("a", 0, 2)), {"a": stack(2, "language_model.layers")}, config)
    assert found == {"text_config.num_hidden_layers": 3, "text_config.layer_types": ["y", "x", "y"]}


def test_lists_of_two_models_are_put_together() -> None:
    configs = (
        {"num_hidden_layers": 2, "layer_types": ["x", "y"]},
        {"num_hidden_layers": 3, "layer_types": ["p", "q", "r"]},
    )
    found = changes(stacked(("a", 0, 2), ("b", 2, 3)), {"a": stack(2), "b": stack(3)}, *configs)
    assert found == {"num_hidden_layers": 3, "layer_types": ["x", "y", "r"]}


@pytest.mark.parametrize("taken", [4, 2], ids=["deeper than either", "as deep as the donor"])
def test_what_follows_the_layers_is_no_difference_between_models(taken: int) -> None:
    """No model's number of layers is the output's, even where it happens to be as large."""
    kinds = {2: ["x", "y"], 4: ["x", "y", "x", "y"]}
    made = [{"num_hidden_layers": n, "layer_types": kinds[n], "rope_theta": n, "model_type": "m"} for n in (4, 2)]
    plan = plan_of(stacked(("a", 0, taken), ("b", 0, 2)), {"a": stack(4), "b": stack(2)}, dict(zip("ab", made)))
    assert [note.split("`")[1] for note in plan.notes if note.startswith("config: `")] == ["rope_theta"]


def test_all_that_cannot_be_said_of_the_layers_is_refused_at_once() -> None:
    config = {"num_hidden_layers": 4, "first_k_dense_replace": 1, "moe_layer_freq": 2}
    error = refusal(stacked(("a", 1, 2), ("a", 0, 1)), {"a": stack(4)}, {"a": config})
    assert error.codes == ("layers-unrepresentable",) * 2
    assert {fault.subject for fault in error.faults} == {"first_k_dense_replace", "moe_layer_freq"}


def test_a_list_that_was_left_alone_is_noted() -> None:
    plan = plan_of(stacked(("a", 1, 2)), {"a": stack(2)}, {"a": {"num_hidden_layers": 2, "image_size": [3, 3]}})
    assert any("`image_size`" in note for note in plan.notes)


def test_lists_that_the_class_works_out_for_itself_are_written_out() -> None:
    """Gemma 2 takes turns; in the new order it would take them otherwise."""
    config = {"model_type": "gemma2", "num_hidden_layers": 4, "sliding_window": 3}
    found = changes(stacked(("a", 0, 1), ("a", 2, 4)), {"a": stack(4)}, config)
    windowed, full = "sliding_attention", "full_attention"
    assert found == {"num_hidden_layers": 3, "layer_types": [windowed, windowed, full]}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen2", "hidden_size": "x"},
        {"model_type": "gemma2", "layer_types": "x"},
        {"model_type": "mistral", "rope_parameters": 5},
        {"model_type": ["qwen2"]},
    ],
    ids=["a size in words", "types that are no list", "parameters that are a number", "a list of types"],
)
def test_a_configuration_that_transformers_refuses_is_no_crash(config: Data) -> None:
    given = {"num_hidden_layers": 2, "sliding_window": 3, **config}
    try:
        plan_of(stacked(("a", 0, 1), ("a", 0, 2)), {"a": stack(2)}, {"a": given})
    except CuveeError as error:
        found: object = error.code
    else:
        found = "planned"
    assert found in ("planned", "bad-config")


def test_a_section_that_transformers_does_not_know_is_no_crash() -> None:
    config = {"model_type": "llama", "llm": {"num_hidden_layers": 2, "sliding_window": 3}}
    plan_of(stacked(("a", 0, 1), ("a", 0, 2)), {"a": stack(2)}, {"a": config})
