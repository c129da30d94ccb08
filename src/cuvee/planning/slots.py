"""Which input tensors meet in which output tensor: the recipe's models, slices and modules laid over tensor names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, nearest
from cuvee.families import Anatomy, natural_key, spot_of
from cuvee.recipe.model import DocumentPath, ModelEntry, Parameters, Recipe, Slice
from cuvee.recipe.values import layer_position
from cuvee.types import BaseRule, ModelRef


@dataclass(frozen=True, slots=True)
class Opened:
    """An input model with its headers read and its anatomy studied; `ties` says whether its head is its embedding."""

    ref: ModelRef
    reader: Reader
    anatomy: Anatomy
    ties: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A model's part in one output tensor; the tensor may turn out not to be there.

    `stands_for` is the name of the tensor meant, where a tied embedding stands in for a head; `statistics` the number
    of what was collected of the model.
    """

    model: int
    tensor: str
    parameters: Parameters = field(default_factory=dict)
    stands_for: str | None = None
    statistics: int | None = None

    @property
    def name(self) -> str:
        """The name that filters are matched against: that of the tensor meant, where another stands in for it."""
        return self.stands_for or self.tensor


@dataclass(frozen=True, slots=True)
class Slot:
    """One output tensor and what should meet in it.

    Attributes:
        name: the output name.
        entries: the models, in the recipe's order, without the base.
        base: the base model's tensor.
        levels: parameters of slice, module and recipe, nearest first.
        t: position along a gradient, 0 for the first layer and 1 for the last.
        layer: stack and output layer.
    """

    name: str
    entries: tuple[Entry, ...]
    base: Entry | None
    levels: tuple[Parameters, ...]
    t: float = 0.0
    layer: tuple[str, int] | None = None

    @property
    def everyone(self) -> tuple[Entry, ...]:
        """The base, if there is one, and the models."""
        return (*(() if self.base is None else (self.base,)), *self.entries)


@dataclass(frozen=True, slots=True)
class Part:
    """A set of tensor names merged by one list of models or slices: the whole model, or one of its modules."""

    claims: Callable[[str], bool]
    models: tuple[ModelEntry, ...]
    slices: tuple[Slice, ...]
    levels: tuple[Parameters, ...]
    at: DocumentPath = ()


@dataclass(frozen=True, slots=True)
class Stacking:
    """How one stack is put together anew: `(model, layer)` for every output layer."""

    prefix: str
    sources: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Ground:
    """What laying out needs to know: the opened models, their numbers, the base, and how the method treats it.

    `collected` holds what was collected of models, by numbers that follow those of the models.
    """

    recipe: Recipe
    opened: Sequence[Opened]
    number: Mapping[ModelRef, int]
    base_rule: BaseRule
    collected: Mapping[int, Reader] = field(default_factory=dict)

    def base_of(self, ref: ModelRef | None) -> int | None:
        """Number of the base model that applies (a slice's own wins), if the method has one."""
        chosen = ref or self.recipe.base_model
        return None if chosen is None or self.base_rule == "input" else self.number[chosen]

    def fault(self, code: str, message: str, at: DocumentPath, hint: str | None = None) -> Fault:
        """A fault with its place in the recipe file, if there is one."""
        place = self.recipe.locate(at) if self.recipe.locate else None
        return Fault(code, message, place=place, hint=hint)


def whole_slots(ground: Ground, part: Part) -> Iterator[Slot]:
    """One slot for every tensor name that any of the part's models has."""
    base = ground.base_of(None)
    members = [(ground.number[e.model], e.parameters, _statistics_of(ground, e)) for e in part.models]
    appended = ground.recipe.base_model if ground.base_rule == "input" else None
    if appended is not None and ground.number[appended] not in [m for m, _, _ in members]:
        members.append((ground.number[appended], {}, None))
    present = [m for m, _, _ in members] + ([] if base is None else [base])
    for name in union_of(ground, present, part):
        entries = tuple(Entry(m, name, p, statistics=s) for m, p, s in members if m != base)
        layer, t = _position(ground, present, name)
        yield Slot(name, entries, None if base is None else Entry(base, name), ({}, *part.levels), t, layer)


def _statistics_of(ground: Ground, entry: ModelEntry) -> int | None:
    return None if entry.statistics is None else ground.number[entry.statistics]


def union_of(ground: Ground, models: Iterable[int], part: Part) -> list[str]:
    """Every tensor name of a part that any of the models has, layers in the order one counts."""
    names = {name for m in models for name in ground.opened[m].reader.specs if part.claims(name)}
    return sorted(names, key=natural_key)


def _position(ground: Ground, models: Sequence[int], name: str) -> tuple[tuple[str, int] | None, float]:
    """A tensor's layer and its place along the gradient of its stack; 0 outside any."""
    spot = spot_of(name)
    counts = [_layers_of(ground.opened[m].anatomy, spot.prefix) for m in models] if spot else []
    count = next((n for n in counts if n), None)
    if spot is None or count is None:
        return None, 0.0
    return (spot.prefix, spot.index), min(1.0, layer_position(spot.index, count))


def _layers_of(anatomy: Anatomy, prefix: str) -> int | None:
    """Layers of a stack; any numbered run of modules counts where no configuration points one out."""
    if not any(stack.keys for stack in anatomy.stacks):
        return anatomy.sizes.get(prefix)
    stack = anatomy.stack(prefix)
    return stack.count - stack.extra if stack else None


def unknown_module(ground: Ground, name: str, known: Iterable[str], at: DocumentPath) -> Fault:
    """A module name that matches nothing."""
    return ground.fault("unknown-module", f"no part of the models is called `{name}`", at, nearest(name, known))
