"""What a plan costs, and what its gradients and filters come to in every layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cuvee.families import natural_key, spot_of
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import Workers, peak_memory


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes to read once, bytes to write, and the most memory that is not file cache, in bytes."""

    read: int
    write: int
    memory: int


def cost(plan: Plan, workers: Workers, *, keeps: bool = True) -> Cost:
    """What carrying out a plan takes.

    Args:
        plan: the plan.
        workers: how it is carried out.
        keeps: whether freed memory may be kept, as it is where no limit is set.
    """
    return Cost(plan.read, sum(s.out.nbytes for s in plan.steps), peak_memory(plan, workers, keeps=keeps))


@dataclass(frozen=True, slots=True)
class Effect:
    """What the parameters come to for a group of tensors.

    Attributes:
        stack: prefix of the stack, empty outside layers.
        layers: first and last output layer, `None` outside layers.
        group: the part of a layer, or the tensor's own name outside layers.
        tensors: how many tensors.
        action: merged or copied.
        values: parameter → one value per model (in the order of `models`), or one value for shared parameters.
        models: labels of the models combined.
    """

    stack: str
    layers: tuple[int, int] | None
    group: str
    tensors: int
    action: str
    values: Mapping[str, object]
    models: tuple[str, ...]


def effects(plan: Plan) -> tuple[Effect, ...]:
    """The effective parameters, layer by layer; neighbouring layers that agree are told together."""
    rows: list[Effect] = []
    for (stack, layer, group), steps in _grouped(plan.steps).items():
        rows += [_effect(plan, stack, layer, group, alike) for alike in _alike(steps)]
    return tuple(_run_together(rows))


def _grouped(steps: Iterable[Step]) -> Mapping[tuple[str, int | None, str], list[Step]]:
    groups: dict[tuple[str, int | None, str], list[Step]] = defaultdict(list)
    for step in steps:
        stack, layer = step.layer if step.layer else ("", None)
        spot = spot_of(step.out.name)
        rest = spot.rest if spot and step.layer else step.out.name
        group = rest.split(".")[0] if step.layer else rest
        groups[(stack, layer, group)].append(step)
    return groups


def _alike(steps: Sequence[Step]) -> Iterable[list[Step]]:
    """Steps with the same models, action and settings together."""
    found: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        models = [p.model for p in step.inputs]
        found[repr((step.action, models, sorted(step.settings.items())))].append(step)
    return found.values()


def _effect(plan: Plan, stack: str, layer: int | None, group: str, steps: Sequence[Step]) -> Effect:
    first = steps[0]
    name = group if len(steps) > 1 or layer is None else _tail(first)
    return Effect(
        stack=stack,
        layers=None if layer is None else (layer, layer),
        group=name,
        tensors=len(steps),
        action=first.action,
        values=dict(first.settings),
        models=tuple(plan.models[p.model].label for p in first.inputs),
    )


def _tail(step: Step) -> str:
    spot = spot_of(step.out.name)
    return spot.rest if spot else step.out.name


def _run_together(rows: Sequence[Effect]) -> Iterable[Effect]:
    """Merge rows of consecutive layers that say the same."""
    closed: list[Effect] = []
    open_rows: dict[str, Effect] = {}
    for row in sorted(rows, key=_order):
        key = repr((row.stack, row.group, row.action, sorted(row.values.items()), row.models, row.layers is None))
        before = open_rows.get(key)
        if before and before.layers and row.layers and before.layers[1] + 1 == row.layers[0]:
            layers = (before.layers[0], row.layers[1])
            tensors = before.tensors + row.tensors
            row = Effect(row.stack, layers, row.group, tensors, row.action, row.values, row.models)
        elif before:
            closed.append(before)
        open_rows[key] = row
    return sorted([*closed, *open_rows.values()], key=_order)


def _order(row: Effect) -> tuple[Any, ...]:
    return row.stack, row.layers or (-1, -1), natural_key(row.group)
