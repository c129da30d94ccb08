"""What became of every layer: cosine, size and sign conflict of each model's changes, from the tensors themselves.

For every cell, which is a part of a layer such as `mlp.up_proj` of layer 3 (numbered parts inside it, such as experts,
are taken together), over the entries that are read:

    with a base b        δ_k = θ_k − b,  δ = θ* − b          θ_k model k, θ* the merge
    without one          m = mean of the θ_k,  δ_k = θ_k − m,  δ = θ* − m

    cosine               ⟨δ_k, δ⟩ / (‖δ_k‖ ‖δ‖);             without a base ⟨θ_k, θ*⟩ / (‖θ_k‖ ‖θ*‖)
    norm ratio           ‖δ_k‖ / ‖b‖;                        without a base ‖δ_k‖ / ‖m‖
    sign conflict        of the entries with δ_k ≠ 0, the share that has not the sign of s = Σ_j δ_j, where s ≠ 0;
                         without a base of the entries of the θ_k themselves, whose deltas sum to zero

    histogram            of δ_k, and of δ over the same bins, which end where a two-thousandth of the entries is larger
                         (these count in the last bins)

A figure that has no value (a change of nothing has no direction) is `None`. All tensors of a cell are rounded to the
coarsest of their dtypes first: rounding is no change. NaN and infinity count as zero. At most `MOST` entries of a cell
are read, in blocks spread evenly over its tensors, and so much is held at a time for every model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.types import DTYPES

MOST: Final = 1 << 20
"""Entries of a cell that are read of every model."""
BLOCK: Final = 1 << 12
"""Entries that are read together."""
BINS: Final = 31
"""Of a histogram: odd, so that one of them is about zero."""
_BEYOND: Final = 1 / 2000
"""Share of the entries that histograms need not reach."""
_COARSE_FIRST: Final = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor of the merge, and what it was made of.

    Attributes:
        name: the tensor's name in the merge.
        layer: what its layer is called: a number, or where outside of the layers it is.
        part: what part of the layer it is.
        models: number of a reader → the tensor's name there, of every model that is combined.
        base: reader and name of the base's tensor, if there is a base.
    """

    name: str
    layer: str
    part: str
    models: Mapping[int, str]
    base: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One model's changes in a cell; `counts` are entries by bin."""

    cosine: float | None
    ratio: float | None
    conflict: float | None
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of a layer.

    Attributes:
        layer, part: which.
        based: whether changes are counted from a base, and not from the mean of the models.
        models: number of a reader → its figures.
        merged: those of the merge itself; its cosine is that with itself.
        edge: the histograms go from minus to plus this; what is larger is in the last bins.
        entries: that were read of each model.
        of: entries in all.
    """

    layer: str
    part: str
    based: bool
    models: Mapping[int, Figures]
    merged: Figures
    edge: float
    entries: int
    of: int


def measure(
    slots: Sequence[Slot],
    readers: Sequence[Reader],
    merged: Reader,
    *,
    budget: int,
    seen: Callable[[int, int], None] | None = None,
) -> tuple[Cell, ...]:
    """The figures of every cell.

    Args:
        slots: what was merged, as the plan has it; those without two models, or one and a base, have no changes.
        readers: the models.
        merged: the merge.
        budget: bytes of every model that are read in all; of every tensor at least a block.
        seen: called with cells done and their number.
    """
    cells = _cells([slot for slot in slots if _is_measured(slot, readers, merged)])
    room = _room({key: sum(_numel(merged, s) for s in found) for key, found in cells.items()}, merged, cells, budget)
    made = []
    for number, (key, found) in enumerate(cells.items(), start=1):
        made.append(_cell(found, readers, merged, room[key]))
        if seen is not None:
            seen(number, len(cells))
    return tuple(made)


_Key = tuple[str, str, tuple[int, ...], bool]


def _is_measured(slot: Slot, readers: Sequence[Reader], merged: Reader) -> bool:
    """Whether there are floats of one shape to be compared."""
    if len(slot.models) + (slot.base is not None) < 2 or slot.name not in merged.specs:
        return False
    specs = [readers[number].specs[name] for number, name in _sources(slot)]
    own = merged.specs[slot.name]
    return bool(own.numel) and all(one.shape == own.shape and one.dtype in _COARSE_FIRST for one in (*specs, own))


def _sources(slot: Slot) -> list[tuple[int, str]]:
    return [*slot.models.items(), *([] if slot.base is None else [slot.base])]


def _cells(slots: Sequence[Slot]) -> dict[_Key, list[Slot]]:
    """The slots of every cell; what is combined of other models is another cell."""
    found: dict[_Key, list[Slot]] = {}
    for slot in slots:
        key = slot.layer, slot.part, tuple(sorted(slot.models)), slot.base is not None
        found.setdefault(key, []).append(slot)
    return found


def _numel(merged: Reader, slot: Slot) -> int:
    return merged.specs[slot.name].numel


def _room(
    sizes: Mapping[_Key, int], merged: Reader, cells: Mapping[_Key, Sequence[Slot]], budget: int
) -> dict[_Key, int]:
    """How many entries of each cell are read: what small ones leave of their part goes to larger ones."""
    left, room = float(budget), {}
    for number, key in enumerate(sorted(sizes, key=lambda one: sizes[one])):
        width = DTYPES[merged.specs[cells[key][0].name].dtype].size
        room[key] = min(sizes[key], MOST, max(BLOCK, int(left / (len(sizes) - number) / width)))
        left -= room[key] * width
    return room


def spread(numel: int, most: int) -> Iterator[tuple[int, int]]:
    """Blocks of a tensor, evenly spread, that have `most` entries together, or a block at least.

    Example:
        >>> list(spread(10, 20)), list(spread(5 * BLOCK, 2 * BLOCK))
        ([(0, 10)], [(0, 4096), (8192, 12288)])
    """
    if most >= numel:
        yield 0, numel
        return
    blocks, count = -(-numel // BLOCK), max(1, most // BLOCK)
    for number in range(count):
        start = (number * blocks // count) * BLOCK
        yield start, min(start + BLOCK, numel)


def _cell(slots: Sequence[Slot], readers: Sequence[Reader], merged: Reader, room: int) -> Cell:
    first = slots[0]
    numbers = sorted(first.models)
    sizes = [_numel(merged, slot) for slot in slots]
    if room < sum(sizes):  # a share of each, or of some where there are more than blocks
        slots = slots[:: max(1, -(-len(slots) * BLOCK // room))]
        parts = [_read(slot, numbers, readers, merged, room // len(slots)) for slot in slots]
    else:
        parts = [_read(slot, numbers, readers, merged, size) for slot, size in zip(slots, sizes, strict=True)]
    values = torch.cat(parts, dim=1)
    models, own = values[: len(numbers)], values[len(numbers)]
    base = values[-1] if first.base is not None else models.mean(0)
    deltas, delta = models - base, own - base
    seen = (deltas, delta) if first.base is not None else (models, own)
    edge = _edge(torch.cat([deltas, delta[None]]))
    elected = seen[0].sum(0).sign()
    size = float(base.norm())
    told = [_figures(seen[0][row], seen[1], deltas[row], elected, size, edge) for row in range(len(numbers))]
    return Cell(
        layer=first.layer,
        part=first.part,
        based=first.base is not None,
        models=dict(zip(numbers, told, strict=True)),
        merged=_figures(seen[1], seen[1], delta, elected, size, edge),
        edge=edge,
        entries=values.shape[1],
        of=sum(sizes),
    )


def _read(slot: Slot, numbers: Sequence[int], readers: Sequence[Reader], merged: Reader, most: int) -> Tensor:
    """The same entries of the models, the merge and the base, `[sources, entries]` in float64."""
    sources = [(readers[n], slot.models[n]) for n in numbers]
    sources += [(merged, slot.name), *([] if slot.base is None else [(readers[slot.base[0]], slot.base[1])])]
    dtype = getattr(torch, min((r.specs[n].dtype for r, n in sources), key=_COARSE_FIRST.index))
    runs = list(spread(_numel(merged, slot), most))
    rows = [torch.cat([reader.read(name, *run).to(dtype).double() for run in runs]) for reader, name in sources]
    stacked = torch.stack(rows)
    return torch.where(stacked.isfinite(), stacked, 0.0)


def _edge(deltas: Tensor) -> float:
    """What nearly no change of any model is larger than; the largest where nearly all are zero."""
    sizes = deltas.abs()
    rank = max(1, int(sizes.shape[1] * (1 - _BEYOND)))
    usual = float(sizes.kthvalue(rank, dim=1).values.max())
    return usual if usual > 0 else float(sizes.max())


def _figures(own: Tensor, merge: Tensor, delta: Tensor, elected: Tensor, size: float, edge: float) -> Figures:
    """Of one model: what directions are taken of (`own`, `merge`), its change, the sign that won, ‖b‖, the edge."""
    norms = float(own.norm()) * float(merge.norm())
    voted = (own != 0) & (elected != 0)
    against = int((own.sign() != elected)[voted].sum())
    bins = torch.histc(delta.clamp(-edge, edge), BINS, -edge, edge) if edge > 0 else torch.zeros(BINS)
    return Figures(
        cosine=max(-1.0, min(1.0, float(own @ merge) / norms)) if norms > 0 else None,
        ratio=float(delta.norm()) / size if size > 0 and math.isfinite(size) else None,
        conflict=against / int(voted.sum()) if bool(voted.any()) else None,
        counts=tuple(int(count) for count in bins.tolist()),
    )
