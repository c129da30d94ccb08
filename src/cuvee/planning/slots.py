"""Which input tensors meet in which output tensor: the recipe's models, slices and modules laid over tensor names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, nearest
from cuvee.families import Anatomy, Stack, is_before_layers, natural_key, spot_of
from cuvee.recipe.model import DocumentPath, ModelEntry, Parameters, Recipe, Slice, Source
from cuvee.recipe.values import layer_position
from cuvee.types import BaseRule, ModelRef


@dataclass(frozen=True, slots=True)
class Opened:
    """An input model with its headers read and its anatomy studied."""

    ref: ModelRef
    reader: Reader
    anatomy: Anatomy


@dataclass(frozen=True, slots=True)
class Entry:
    """A model's part in one output tensor; the tensor may turn out not to be there.

    `stands_for` is the name of the tensor meant, where a tied embedding stands in for a head.
    """

    model: int
    tensor: str
    parameters: Parameters = field(default_factory=dict)
    stands_for: str | None = None

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
    """What laying out needs to know: the opened models, their numbers, the base, and how the method treats it."""

    recipe: Recipe
    opened: Sequence[Opened]
    number: Mapping[ModelRef, int]
    base_rule: BaseRule

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
    members = [(ground.number[e.model], e.parameters) for e in part.models]
    appended = ground.recipe.base_model if ground.base_rule == "input" else None
    if appended is not None and ground.number[appended] not in [m for m, _ in members]:
        members.append((ground.number[appended], {}))
    present = [m for m, _ in members] + ([] if base is None else [base])
    for name in _union(ground, present, part):
        entries = tuple(Entry(m, name, p) for m, p in members if m != base)
        layer, t = _position(ground, present, name)
        yield Slot(name, entries, None if base is None else Entry(base, name), ({}, *part.levels), t, layer)


def _union(ground: Ground, models: Iterable[int], part: Part) -> list[str]:
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


def main_stack(ground: Ground, part: Part) -> tuple[str, list[Fault]]:
    """The prefix of the one stack that the part's slices speak of, or why it cannot be told."""
    found = {n: {s.prefix for s in _stacks(ground.opened[n], part)} for n in _stacked_models(ground, part)}
    prefixes = set().union(*found.values())
    if len(prefixes) == 1:
        return prefixes.pop(), list(_uncounted(ground, part, [n for n, own in found.items() if not own]))
    at = (*part.at, "slices")
    if not prefixes:
        message = "`slices` need a stack of layers, and none was found in the tensor names and config.json"
        return "", [ground.fault("no-layer-stack", message, at)]
    message = f"`slices` need one stack of layers; found {len(prefixes)}: {', '.join(sorted(prefixes))}"
    return "", [ground.fault("no-layer-stack", message, at, _modules_hint(sorted(prefixes)))]


def _stacked_models(ground: Ground, part: Part) -> list[int]:
    """The models whose layers are stacked, and the one whose configuration is carried over."""
    sources = [s.model for piece in part.slices for s in piece.sources]
    bases = [piece.base_model for piece in part.slices if piece.base_model]
    donor = [] if ground.opened[0].reader.config is None else [ground.opened[0].ref]
    return list(dict.fromkeys(ground.number[ref] for ref in (*sources, *bases, *donor)))


def _uncounted(ground: Ground, part: Part, models: Sequence[int]) -> Iterator[Fault]:
    """Models in which the stack cannot be made out, so that neither ranges nor configuration can be relied on."""
    for number in models:
        label = ground.opened[number].ref
        message = f"{label}: its config.json and tensor names do not agree on a stack of layers"
        hint = "the configuration must count the layers, under a key such as `num_hidden_layers`"
        yield ground.fault("no-layer-stack", message, (*part.at, "slices"), hint)


def _modules_hint(prefixes: Sequence[str]) -> str:
    names = ", ".join(f"`{p.rsplit('.', 1)[0]}`" for p in prefixes)
    return f"say which part is meant with `modules:` ({names}; `rest` for everything else)"


def _stacks(model: Opened, part: Part) -> list[Stack]:
    return [s for s in model.anatomy.stacks if part.claims(f"{s.prefix}.0")]


def range_faults(ground: Ground, part: Part, prefix: str) -> Iterator[Fault]:
    """Layer ranges that reach beyond the layers a model has."""
    for piece in part.slices:
        for source in piece.sources:
            model = ground.opened[ground.number[source.model]]
            stack = model.anatomy.stack(prefix)
            if stack is not None and source.layers[1] > stack.count - stack.extra:
                layers = stack.count - stack.extra
                message = f"{source.model} has {layers} layers; layer_range asks for {list(source.layers)}"
                yield ground.fault("layers-out-of-range", message, (*source.at, "layer_range"))


def sliced_slots(ground: Ground, part: Part, prefix: str) -> Iterator[Slot]:
    """Slots of stacked layers, and of what stands before and behind them.

    Tensors before the layers come from the first slice's sources, the others from the last slice's; both stand at
    t = 0 of a gradient, as in mergekit.
    """
    first, last = part.slices[0], part.slices[-1]
    offset = 0
    outer = [
        _outer_slots(ground, part, first, prefix, before=True),
        _outer_slots(ground, part, last, prefix, before=False),
    ]
    yield from outer[0]
    for piece in part.slices:
        length = piece.sources[0].layers[1] - piece.sources[0].layers[0]
        for i in range(length):
            yield from _layer_slots(ground, part, piece, prefix, i, offset + i, layer_position(i, length))
        offset += length
    yield from outer[1]


def _members(ground: Ground, piece: Slice) -> tuple[list[Source], Source | None]:
    """A slice's sources without the base, and the base as a source; it takes their range when it is not listed.

    Only the first source that is the base counts as such: the same model may stand there again with other layers.
    """
    base = ground.base_of(piece.base_model)
    if base is None:
        return list(piece.sources), None
    listed = next((s for s in piece.sources if ground.number[s.model] == base), None)
    if listed is None:
        return list(piece.sources), Source(ground.opened[base].ref, piece.sources[0].layers)
    return [s for s in piece.sources if s is not listed], listed


def _outer_slots(ground: Ground, part: Part, piece: Slice, prefix: str, before: bool) -> Iterator[Slot]:
    sources, base = _members(ground, piece)
    numbers = [ground.number[s.model] for s in sources] + ([ground.number[base.model]] if base else [])
    for name in _union(ground, numbers, part):
        spot = spot_of(name)
        if (spot and spot.prefix == prefix) or is_before_layers(name) != before:
            continue
        entries = tuple(Entry(ground.number[s.model], name, s.parameters) for s in sources)
        base_entry = Entry(ground.number[base.model], name) if base else None
        yield Slot(name, entries, base_entry, (piece.parameters, *part.levels))


def _layer_slots(
    ground: Ground, part: Part, piece: Slice, prefix: str, i: int, output: int, t: float
) -> Iterator[Slot]:
    sources, base = _members(ground, piece)
    everyone = [*sources, *([base] if base else [])]
    rests = {rest for s in everyone for rest in _rests(ground, s, prefix, s.layers[0] + i)}
    for rest in sorted(rests, key=natural_key):
        entries = tuple(_source_entry(ground, s, prefix, i, rest) for s in sources)
        base_entry = _source_entry(ground, base, prefix, i, rest) if base else None
        levels = (piece.parameters, *part.levels)
        yield Slot(_joined(prefix, output, rest), entries, base_entry, levels, t, (prefix, output))


def _source_entry(ground: Ground, source: Source, prefix: str, i: int, rest: str) -> Entry:
    return Entry(ground.number[source.model], _joined(prefix, source.layers[0] + i, rest), source.parameters)


def _joined(prefix: str, index: int, rest: str) -> str:
    return ".".join(part for part in (prefix, str(index), rest) if part)


def _rests(ground: Ground, source: Source, prefix: str, layer: int) -> Iterator[str]:
    for name in ground.opened[ground.number[source.model]].reader.specs:
        spot = spot_of(name)
        if spot and spot.prefix == prefix and spot.index == layer:
            yield spot.rest


def stacking_of(ground: Ground, part: Part, prefix: str) -> Stacking:
    """For every output layer the first source's model and layer, which the configuration follows."""
    sources = []
    for piece in part.slices:
        source = piece.sources[0]
        sources += [(ground.number[source.model], layer) for layer in range(*source.layers)]
    return Stacking(prefix, tuple(sources))


def unknown_module(ground: Ground, name: str, known: Iterable[str], at: DocumentPath) -> Fault:
    """A module name that matches nothing."""
    return ground.fault("unknown-module", f"no part of the models is called `{name}`", at, nearest(name, known))
