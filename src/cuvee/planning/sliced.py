"""Slots of a recipe with slices: layers taken from several models and numbered anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cuvee.errors import Fault
from cuvee.families import Spot, Stack, is_before_layers, natural_key, spot_of
from cuvee.planning.slots import Entry, Ground, Opened, Part, Slot, Stacking, union_of
from cuvee.planning.tying import is_head
from cuvee.recipe.layer_list import written_layers
from cuvee.recipe.model import Slice, Source
from cuvee.recipe.values import layer_position


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
    short = [prefix.rsplit(".", 1)[0] for prefix in prefixes]
    telling = [s for s in short if sum(f"{p}.".startswith(f"{s}.") for p in prefixes) == 1]
    names = ", ".join(f"`{s if s in telling else p}`" for s, p in zip(short, prefixes, strict=True))
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
                yield _out_of_range(ground, source, stack.count - stack.extra)


def _out_of_range(ground: Ground, source: Source, count: int) -> Fault:
    asked = written_layers(source.listed) if source.listed else str(list(source.layers))
    message = f"{source.model} has {count} layers, 0 to {count - 1}; {source.key} asks for {asked}"
    return ground.fault("layers-out-of-range", message, (*source.at, source.key))


def sliced_slots(ground: Ground, part: Part, prefix: str) -> Iterator[Slot]:
    """Slots of stacked layers, and of what stands before and behind them.

    Tensors before the layers come from the first slice's sources, the others from the last slice's; both stand at
    t = 0 of a gradient, as in mergekit. One that those sources lack and another source has is a slot all the same, so
    that it is refused or copied by name.
    """
    first, last = part.slices[0], part.slices[-1]
    offset = 0
    outer = [
        _outer_slots(ground, part, first, prefix, before=True),
        _outer_slots(ground, part, last, prefix, before=False),
    ]
    yield from outer[0]
    for piece in part.slices:
        length = len(piece.sources[0].order)
        for i in range(length):
            yield from _layer_slots(ground, part, piece, prefix, i, offset + i, layer_position(i, length))
        offset += length
    yield from outer[1]
    yield from _stray_slots(ground, part, prefix)


def _members(ground: Ground, piece: Slice) -> tuple[list[Source], Source | None]:
    """A slice's sources without the base, and the base as a source; it takes their range when it is not listed.

    Only the first source that is the base counts as such: the same model may stand there again with other layers.
    """
    base = ground.base_of(piece.base_model)
    if base is None:
        return list(piece.sources), None
    listed = next((s for s in piece.sources if ground.number[s.model] == base), None)
    if listed is None:
        return list(piece.sources), replace(piece.sources[0], model=ground.opened[base].ref, parameters={})
    return [s for s in piece.sources if s is not listed], listed


def _outer_slots(ground: Ground, part: Part, piece: Slice, prefix: str, before: bool) -> Iterator[Slot]:
    sources, base = _members(ground, piece)
    numbers = [ground.number[s.model] for s in sources] + ([ground.number[base.model]] if base else [])
    for name in union_of(ground, numbers, part):
        spot = spot_of(name)
        if (spot and spot.prefix == prefix) or is_before_layers(name) != before:
            continue
        entries = tuple(Entry(ground.number[s.model], name, s.parameters) for s in sources)
        base_entry = Entry(ground.number[base.model], name) if base else None
        yield Slot(name, entries, base_entry, (piece.parameters, *part.levels))


def _stray_slots(ground: Ground, part: Part, prefix: str) -> Iterator[Slot]:
    """Tensors outside the layers that only sources have which do not give them; heads are a matter of tying."""
    givers = {True: part.slices[0], False: part.slices[-1]}
    numbers = dict.fromkeys(ground.number[s.model] for piece in part.slices for s in piece.sources)
    for name in union_of(ground, numbers, part):
        spot = spot_of(name)
        if (spot and spot.prefix == prefix) or is_head(name):
            continue
        sources, base = _members(ground, givers[is_before_layers(name)])
        giving = [ground.number[s.model] for s in (*sources, *([base] if base else []))]
        if not any(name in ground.opened[n].reader.specs for n in giving):
            having = [n for n in numbers if name in ground.opened[n].reader.specs]
            yield Slot(name, tuple(Entry(n, name) for n in (*giving, *having)), None, (part.slices[-1].parameters,))


def _layer_slots(
    ground: Ground, part: Part, piece: Slice, prefix: str, i: int, output: int, t: float
) -> Iterator[Slot]:
    sources, base = _members(ground, piece)
    everyone = [*sources, *([base] if base else [])]
    rests = {rest for s in everyone for rest in _rests(ground, s, prefix, s.order[i])}
    for rest in sorted(rests, key=natural_key):
        entries = tuple(_source_entry(ground, s, prefix, i, rest) for s in sources)
        base_entry = _source_entry(ground, base, prefix, i, rest) if base else None
        levels = (piece.parameters, *part.levels)
        yield Slot(Spot(prefix, output, rest).name, entries, base_entry, levels, t, (prefix, output))


def _source_entry(ground: Ground, source: Source, prefix: str, i: int, rest: str) -> Entry:
    name = Spot(prefix, source.order[i], rest).name
    return Entry(ground.number[source.model], name, source.parameters)


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
        sources += [(ground.number[source.model], layer) for layer in source.order]
    return Stacking(prefix, tuple(sources))
