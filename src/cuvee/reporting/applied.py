"""What a merge really did, read off its plan: parameters and effective weights, layer by layer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cuvee.families import is_before_layers, spot_of
from cuvee.planning import Effect, Plan, effects
from cuvee.planning.model import Step
from cuvee.reporting.layers import Slot

BEFORE: Final = "in"
AFTER: Final = "out"
"""What stands for a layer where a tensor is before the layers, or behind them."""
_NUMBER: Final = re.compile(r"(?<=\.)\d+(?=\.|$)")
_SHARES: Final = ("nuslerp", "karcher")
"""Methods whose weights are always shares of their sum."""


@dataclass(frozen=True, slots=True)
class Weight:
    """How much of a model is in a layer, in the mean over its entries."""

    layer: str
    model: int
    value: float


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done.

    Attributes:
        models: the models by number.
        layers: the layers in order, as far as there are any.
        effects: parameters by layers and parts.
        weights: effective weights, empty where the method has none.
        slots: every tensor, and what it was made of, layer by layer.
    """

    models: tuple[str, ...]
    layers: tuple[str, ...]
    effects: tuple[Effect, ...]
    weights: tuple[Weight, ...]
    slots: tuple[Slot, ...]


def applied(plan: Plan, words: Mapping[str, str]) -> Applied:
    """What a plan does.

    Args:
        plan: of the merge.
        words: parameters of its method: what they are called in Python → what recipes call them.
    """
    layers = _layers(plan.steps)
    told = [_renamed(effect, words) for effect in effects(plan)]
    several = len({step.layer[0] for step in plan.steps if step.layer}) > 1
    slots = sorted((_slot(step, several) for step in plan.steps), key=lambda slot: layers.index(slot.layer))
    names = tuple(str(facts.ref) for facts in plan.models)
    return Applied(names, layers, tuple(told), _weights(plan, layers), tuple(slots))


def layer_of(step: Step) -> str:
    """What the layer of a tensor is called: its number in its stack, or on which side of the layers it is."""
    if step.layer is None:
        return BEFORE if is_before_layers(step.out.name) else AFTER
    return str(step.layer[1])


def part_of(step: Step) -> str:
    """What part of its layer a tensor is; numbers inside it are left out, so that experts are one part."""
    name = step.out.name
    spot = spot_of(name)
    if step.layer is not None and spot is not None:
        return _NUMBER.sub("*", f".{spot.rest}")[1:].removesuffix(".weight")
    return name.removesuffix(".weight").removeprefix("model.")


def effective(step: Step, method: str) -> Mapping[int, float] | None:
    """How much of every model is in a tensor; `None` where no numbers say so.

    A copy is all of one model. Weights are multiplied by λ and, where the method divides by their sum, are shares of
    it. On an arc with parameter t the second model has t and the first 1 − t.
    """
    if step.action == "copy":
        return {step.inputs[0].model: 1.0}
    settings = step.settings
    if isinstance(t := settings.get("t"), int | float) and step.base is not None and len(step.inputs) == 1:
        return {step.base.model: 1.0 - t, step.inputs[0].model: float(t)}
    weights = settings.get("weight")
    if not isinstance(weights, tuple):
        return None
    shares = settings.get("normalize", settings.get("normalize_weights", method in _SHARES))
    total = sum(weights) if shares else 1.0
    scale = settings.get("lambda_", 1.0)
    if not total or not isinstance(scale, int | float):
        return None
    found: dict[int, float] = defaultdict(float)
    for piece, weight in zip(step.inputs, weights, strict=True):
        found[piece.model] += scale * weight / total
    return found


def _layers(steps: Sequence[Step]) -> tuple[str, ...]:
    found = {layer_of(step) for step in steps}
    numbers = sorted((name for name in found if name.isdigit()), key=int)
    return (*(name for name in (BEFORE,) if name in found), *numbers, *(name for name in (AFTER,) if name in found))


def _renamed(effect: Effect, words: Mapping[str, str]) -> Effect:
    values: dict[str, Any] = {words[name]: value for name, value in effect.values.items()}
    return Effect(effect.stack, effect.layers, effect.group, effect.tensors, effect.action, values, effect.models)


def _slot(step: Step, several: bool) -> Slot:
    """A tensor; its part begins with its stack where there are several."""
    part = f"{step.layer[0]}: {part_of(step)}" if several and step.layer else part_of(step)
    models = {piece.model: piece.tensor for piece in step.inputs}
    base = None if step.base is None else (step.base.model, step.base.tensor)
    return Slot(step.out.name, layer_of(step), part, models, base)


def _weights(plan: Plan, layers: Sequence[str]) -> tuple[Weight, ...]:
    """The mean over the entries of every layer, of every model that has a part in it."""
    sums: dict[tuple[str, int], float] = defaultdict(float)
    sizes: dict[str, int] = defaultdict(int)
    for step in plan.steps:
        found = effective(step, plan.recipe.method)
        if found is None:
            continue
        sizes[layer_of(step)] += step.out.numel
        for model, weight in found.items():
            sums[layer_of(step), model] += weight * step.out.numel
    place = {name: number for number, name in enumerate(layers)}
    return tuple(
        Weight(layer, model, total / sizes[layer])
        for (layer, model), total in sorted(sums.items(), key=lambda one: (place[one[0][0]], one[0][1]))
        if sizes[layer]
    )
