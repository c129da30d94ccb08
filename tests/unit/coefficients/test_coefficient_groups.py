"""Coefficients per layer as settings of a recipe: the plan gives every tensor what was learned for its layer."""

from __future__ import annotations

import doctest
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint import MemoryReader
from cuvee.coefficients import groups
from cuvee.coefficients.asked import with_starting_weights
from cuvee.coefficients.groups import Grouping, as_float32, as_setting, confirm, grouped, starting_weights, with_weights
from cuvee.errors import RecipeError
from cuvee.families import study
from cuvee.planning import Plan, bind
from cuvee.recipe import Conditions, Recipe, from_data, parse_text, to_yaml

SPECS = with_starting_weights(methods.specs())
DECODER = {"model_type": "m", "num_hidden_layers": 12}
BOTH = {"model_type": "m", "encoder_layers": 11, "decoder_layers": 3, "num_hidden_layers": 11}


class Reader(MemoryReader):
    """A state dict with a configuration."""

    def __init__(self, label: str, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
        super().__init__(label, tensors)
        self._told = config

    @property
    def config(self) -> dict[str, Any]:
        return self._told

    @property
    def config_text(self) -> str:
        import json

        return json.dumps(self._told)


def names_of(case: str) -> tuple[list[str], dict[str, Any]]:
    """Tensor names, and a configuration that counts their layers."""
    outside = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    if case == "one stack":
        return [*outside, *(f"model.layers.{i}.mlp.{p}" for i in range(12) for p in "ab")], DECODER
    if case == "a name that holds the prefix":
        more = ["aux.model.layers.norm.weight", "model.layers.scale"]
        return [*outside, *more, *(f"model.layers.{i}.mlp" for i in range(12))], DECODER
    if case == "one letter":
        return ["wte.weight", "patch.proj", "h.scale", *(f"h.{i}.attn" for i in range(12))], DECODER
    stacks = [("encoder.layers", 11), ("decoder.layers", 3)]
    if case == "a prefix within a prefix":
        stacks = [("layers.encoder", 11), ("decoder.layers.encoder", 3)]
    return ["shared.weight", *(f"{p}.{i}.fc{j}.weight" for p, n in stacks for i in range(n) for j in (1, 2))], BOTH


CASES = (
    "one stack",
    "a name that holds the prefix",
    "one letter",
    "encoder and decoder",
    "a prefix within a prefix",
)


def planned(recipe: Recipe, names: list[str], config: dict[str, Any], starting: bool = True) -> tuple[Plan, list]:
    generator = torch.Generator().manual_seed(0)
    tensors = {label: {n: torch.randn(2, generator=generator) for n in names} for label in ("base", "a", "b")}
    readers = [Reader(label, tensors[label], config) for label in ("base", "a", "b")]
    spec = (SPECS if starting else methods.specs())[recipe.method]
    return bind(recipe, readers, spec), readers


def asked(**weights: Any) -> Recipe:
    models = [{"model": m, **({"parameters": {"weight": weights[m]}} if m in weights else {})} for m in "ab"]
    return from_data({"merge_method": "task_arithmetic", "base_model": "base", "models": models}, SPECS)


@pytest.mark.parametrize("case", CASES)
def test_the_plan_of_a_learned_recipe_gives_every_tensor_its_own(case: str) -> None:
    names, config = names_of(case)
    plan, readers = planned(asked(), names, config)
    grouping = grouped(plan, study(readers[0].specs, config), "layer")
    stacks = dict.fromkeys(name.rsplit(".", 1)[0] for name in grouping.names if name != "outside")
    assert len(stacks) == (2 if config is BOTH else 1)
    rng = random.Random(3)
    weights = [tuple(as_float32(rng.uniform(-1, 2)) for _ in "ab") for _ in grouping.names]

    learned = with_weights(asked(), (0, 1), weights, grouping)
    read_back = parse_text(to_yaml(learned), methods.specs())
    made, _ = planned(read_back, names, config, starting=False)

    by_group = dict(zip(grouping.names, weights, strict=True))
    assert {step.out.name for step in made.steps} == set(names)
    for step in made.steps:
        group = f"{step.layer[0]}.{step.layer[1]}" if step.layer else "outside"
        assert group in by_group
        assert (group == "outside") == (not any(f"{p}.{i}." in f"{step.out.name}." for p in stacks for i in range(12)))
        assert tuple(map(as_float32, step.settings["weight"])) == by_group[group], step.out.name
    confirm(made, grouping, weights)
    with pytest.raises(AssertionError, match="was learned"):
        confirm(made, grouping, [*weights[:-1], (9.0, 9.0)])


def test_of_prefixes_within_each_other_the_longer_comes_first() -> None:
    names, config = names_of("a prefix within a prefix")
    plan, readers = planned(asked(), names, config)
    setting = as_setting([float(i) for i in range(15)], grouped(plan, study(readers[0].specs, config), "layer"))
    assert isinstance(setting, Conditions)
    assert [branch.filter for branch in setting.branches] == ["decoder.layers.encoder.", "layers.encoder.", None]


def test_a_stack_alone_needs_no_names_in_full() -> None:
    names, config = names_of("one stack")
    plan, readers = planned(asked(), names, config)
    grouping = grouped(plan, study(readers[0].specs, config), "layer")
    setting = as_setting([float(i) for i in range(13)], grouping)
    assert isinstance(setting, Conditions)
    assert [branch.filter for branch in setting.branches] == ["model.layers.", None]
    assert setting.branches[0].value == tuple(float(i) for i in range(1, 13))
    assert setting.branches[1].value == 0.0


def test_one_coefficient_per_model_is_a_number() -> None:
    names, config = names_of("one stack")
    plan, readers = planned(asked(a=0.5), names, config)
    grouping = grouped(plan, study(readers[0].specs, config), "model")
    assert grouping.names == ("all",)
    assert starting_weights(plan, grouping, positive=False) == [(0.5, 0.3)]
    assert as_setting([0.25], grouping) == 0.25


def test_layers_beyond_the_counted_ones_go_with_the_last() -> None:
    config = {**DECODER, "num_hidden_layers": 3, "num_nextn_predict_layers": 1}
    names = ["model.norm.weight", *(f"model.layers.{i}.mlp" for i in range(4))]
    plan, readers = planned(asked(), names, config)
    grouping = grouped(plan, study(readers[0].specs, config), "layer")
    assert grouping.names == ("outside", "model.layers.0", "model.layers.1", "model.layers.2")
    assert grouping.of["model.layers.3.mlp"] == grouping.of["model.layers.2.mlp"]
    weights = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8)]
    made, _ = planned(with_weights(asked(), (0, 1), weights, grouping), names, config)
    confirm(made, grouping, weights)


def starts(recipe: Recipe, per: str, positive: bool = False) -> list[tuple[float, ...]]:
    names, config = names_of("one stack")
    plan, readers = planned(recipe, names, config)
    grouping: Grouping = grouped(plan, study(readers[0].specs, config), per)  # type: ignore[arg-type]
    return starting_weights(plan, grouping, positive=positive)


def test_a_gradient_starts_every_layer_where_it_says() -> None:
    found = starts(asked(a=[0.0, 1.1]), "layer")
    assert found[0] == (0.0, 0.3)
    assert [a for a, _ in found[1:]] == pytest.approx([i / 10 for i in range(12)])


def test_weights_that_differ_within_a_group_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        starts(asked(a=[0.0, 1.0]), "model")
    assert caught.value.codes == ("wrong-value",)
    finer = [{"filter": "mlp.a", "value": 1.0}, {"value": 0.5}]
    with pytest.raises(RecipeError) as caught:
        starts(asked(a=finer), "layer")
    assert len(caught.value.faults) == 12
    assert "model.layers.0" in caught.value.faults[0].message


def test_a_soup_starts_above_nothing() -> None:
    with pytest.raises(RecipeError) as caught:
        starts(asked(a=0.0, b=1.0), "model", positive=True)
    assert caught.value.codes == ("out-of-range",)


def test_the_examples_are_right() -> None:
    assert doctest.testmod(groups).failed == 0


@pytest.mark.parametrize("value", [0.3, 1 / 3, -1e-9, 123456.789, 0.0])
def test_float32_in_few_digits_is_the_same_float32(value: float) -> None:
    assert torch.tensor(as_float32(value), dtype=torch.float32) == torch.tensor(value, dtype=torch.float32)
    assert len(str(as_float32(value))) <= 14
