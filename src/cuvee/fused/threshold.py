"""The exact magnitude at which the density·n largest entries of every delta end, in about one pass.

A sample brackets it. One pass then counts what is above the bracket and keeps what is inside, from which the threshold
is selected exactly, with the place where entries equal to it run out. A bracket that the sample misplaced is told by
the counts; the plain passes then find the threshold digit by digit. So the sample decides about time, never about a
byte.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cuvee.fused import select
from cuvee.fused.model import FusedRound
from cuvee.methods import Job, Round
from cuvee.methods.largest import Prefix
from cuvee.methods.trim import SAMPLE_RUN, WHOLE, entries_kept, inside_limit, sample_runs, trim_first
from cuvee.tensors import BLOCK, Cut, magnitude_from_bits

if TYPE_CHECKING:
    from cuvee.fused.model import Rows

Bits = NDArray[np.uint32]

_ERRORS: Final = 4.0
_AT_LEAST: Final = 0.002
_EXPECTED: Final = 2
"""Of what may be kept of a delta, one part in so many is expected inside its bracket, which is made narrow enough."""


@dataclass(frozen=True)
class Bracket:
    """Where the thresholds are thought to be: bits of the lower ends and widths, `[K]`.

    A delta of which the sample says that fewer entries are there than may stay has `kept` False: it is enough to count
    them, for its threshold is 0, and a zero that stays is as good as one that goes.
    """

    low: Bits
    width: Bits
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Inside:
    """What was found of one tile, per delta: places and magnitudes of entries inside, and how many are above."""

    kept: tuple[tuple[Bits, Bits], ...]
    above: NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """The tiles looked at so far, by their first elements; or that there was more inside than can be kept."""

    tiles: dict[int, Inside]
    overflowed: bool = False

    def __add__(self, other: Found) -> Found:
        """Both together."""
        overflowed = self.overflowed or other.overflowed
        return Found({} if overflowed else self.tiles | other.tiles, overflowed)


@dataclass(frozen=True)
class Magnitudes:
    """Magnitudes of all entries shown, as bits `[K, n]`, by the first element of their tile."""

    tiles: dict[int, Bits]

    def __add__(self, other: Magnitudes) -> Magnitudes:
        """Both together."""
        return Magnitudes(self.tiles | other.tiles)

    def joined(self) -> Bits:
        """All of them in order."""
        return np.concatenate([self.tiles[start] for start in sorted(self.tiles)], axis=1)


@dataclass(frozen=True)
class Missed:
    """A threshold is not inside its bracket: the plain passes are to find it."""


def cut_first(job: Job, _done: int, known: Any) -> FusedRound | Round | None:
    """The next pass towards the `Cut` of every delta; `None` at the end, or when every density is 1."""
    if isinstance(known, Cut) or bool((job.settings["density"] >= 1).all()):
        return None
    if isinstance(known, Prefix):
        return trim_first(job, known)
    if isinstance(known, Missed):
        return _begun_anew(trim_first(job, None))
    if isinstance(known, Bracket):
        return FusedRound(lambda rows, start: _collect(rows, start, known, job.numel), _select)
    if job.numel <= WHOLE:
        return FusedRound(_magnitudes, _select_whole)
    return FusedRound(_magnitudes, _bracket, sample=sample_of(job.numel))


def _begun_anew(first: Round | None) -> Round:
    """The first of the plain passes, which knows nothing yet."""
    assert first is not None, "a threshold was looked for"
    return Round(
        lambda stack, start, job, _missed: first.observe(stack, start, job, None),
        lambda total, job, _missed: first.conclude(total, job, None),
    )


def sample_of(numel: int) -> list[tuple[int, int]]:
    """Runs of entries evenly over a tensor that has more than `WHOLE`."""
    runs = sample_runs(numel)
    step = numel // runs // SAMPLE_RUN * SAMPLE_RUN
    return [(i * step, i * step + SAMPLE_RUN) for i in range(runs)]


def _magnitudes(rows: Rows, start: int) -> tuple[Magnitudes, int]:
    bits = np.empty((len(rows) - 1, rows.shape[1]), np.uint32)
    worst = select.magnitudes(rows, bits)
    return Magnitudes({start: bits}), int(worst)


def _bracket(sample: Magnitudes, job: Job, _known: Any) -> Bracket:
    ends = [
        _ends(row, kept / job.numel, job.numel)
        for row, kept in zip(sample.joined(), entries_kept(job.settings["density"], job.numel).tolist(), strict=True)
    ]
    low, high = (np.array(end, np.uint32) for end in zip(*ends, strict=True))
    return Bracket(low, high - low, high > 0)


def _ends(bits: Bits, density: float, numel: int) -> tuple[int, int]:
    """Magnitudes that bracket the threshold of one delta, from a sample of it.

    Neighbours are alike, so the error of the sample is taken from how much its runs differ, not from how many entries
    there are.
    """
    runs = bits.reshape(-1, SAMPLE_RUN)
    error = float(np.std((runs >= _at(bits, density)).mean(axis=1))) / math.sqrt(len(runs))
    half = min(_AT_LEAST + _ERRORS * error, inside_limit(numel) / _EXPECTED / numel / 2)
    low = 0 if density + half >= 1 else _at(bits, density + half)
    return low, max(low, _TOP if density - half <= 0 else _at(bits, density - half))


_TOP: Final = 0x7FFFFFFF


def _at(bits: Bits, density: float) -> int:
    """The magnitude of the last entry of a sample that stays at a density."""
    rank = min(max(math.ceil(density * len(bits)), 1), len(bits))
    return int(select.largest(bits, rank)[0])


class _Scratch(threading.local):
    """Room for what a tile may hold inside, kept by each thread.

    Made anew for every tile, it would leave gaps between the few entries that stay, which nothing else fits into: of a
    tensor of 2³¹ entries, gibibytes.
    """

    def __init__(self) -> None:
        self._held: Bits = np.empty(0, np.uint32)

    def room(self, count: int, n: int) -> Bits:
        """Places and magnitudes, `[2, count, n]`; good until the thread asks again."""
        if len(self._held) < 2 * count * n:
            self._held = np.empty(2 * count * n, np.uint32)
        return self._held[: 2 * count * n].reshape(2, count, n)


_SCRATCH: Final = _Scratch()


def _collect(rows: Rows, start: int, bracket: Bracket, numel: int) -> tuple[Found, int]:
    count, n = len(rows) - 1, rows.shape[1]
    room = min(n, math.ceil(n * inside_limit(numel) / numel))
    places, bits = _SCRATCH.room(count, n)
    found, above = np.zeros(count, np.int64), np.zeros(count, np.int64)
    worst = select.collect(rows, bracket.low, bracket.width, bracket.kept, places, bits, found, above)
    if found.max(initial=0) > room:
        return Found({}, overflowed=True), int(worst)
    kept = tuple((p[:f].copy(), b[:f].copy()) for p, b, f in zip(places, bits, found.tolist(), strict=True))
    return Found({start: Inside(kept, above)}), int(worst)


def _select(found: Found, job: Job, bracket: Bracket) -> Cut | Missed:
    if found.overflowed:
        return Missed()
    tiles = sorted(found.tiles.items())
    wanted = entries_kept(job.settings["density"], job.numel).tolist()
    cuts = []
    for k, keep in enumerate(wanted):
        left = keep - sum(int(tile.above[k]) for _, tile in tiles)
        if bracket.kept[k]:
            cuts.append(_threshold([(start, *tile.kept[k]) for start, tile in tiles], left, job.numel))
        else:
            cuts.append((0, _beyond(job.numel), 0) if left >= 0 else None)
    return Missed() if None in cuts else _cut([cut for cut in cuts if cut is not None], job)


def _select_whole(sample: Magnitudes, job: Job, _known: Any) -> Cut:
    places = np.arange(job.numel, dtype=np.uint32)
    wanted = entries_kept(job.settings["density"], job.numel).tolist()
    rows = zip(sample.joined(), wanted, strict=True)
    cuts = [_threshold([(0, places, bits)], keep, job.numel) for bits, keep in rows]
    return _cut([cut for cut in cuts if cut is not None], job)


def _threshold(found: Sequence[tuple[int, Bits, Bits]], left: int, numel: int) -> tuple[int, int, int] | None:
    """The `left`-th largest magnitude, the first element of the block where equal ones run out, and that block's quota.

    Args:
        found: first element, places and magnitudes of every tile, in order.
        left: rank of the threshold among these magnitudes.
        numel: elements of the tensor.

    Returns:
        `None` where it is not among them; where all equal ones stay, the block is the one behind the last.
    """
    bits = np.concatenate([row for _, _, row in found])
    if not 0 < left <= len(bits):
        return None
    threshold, larger = select.largest(bits, left)
    stay = left - larger
    if stay == np.count_nonzero(bits == threshold):
        return int(threshold), _beyond(numel), 0
    return int(threshold), *_edge(found, threshold, stay)


def _edge(found: Sequence[tuple[int, Bits, Bits]], threshold: int, stay: int) -> tuple[int, int]:
    """The first element of the block where `stay` entries equal to the threshold run out, and how many are in it."""
    for start, places, row in found:
        equal = places[row == threshold]
        if stay <= len(equal):  # tiles begin where blocks do, so the block has no entries in tiles before
            first = int(equal[stay - 1]) // BLOCK * BLOCK
            return start + first, int(np.count_nonzero(equal[:stay] >= first))
        stay -= len(equal)
    raise AssertionError("more entries stay than are equal to the threshold")


def _beyond(numel: int) -> int:
    """The first element of the block behind the last one."""
    return -(-numel // BLOCK) * BLOCK


def _cut(found: Sequence[tuple[int, int, int]], job: Job) -> Cut:
    thresholds = magnitude_from_bits(torch.tensor([bits for bits, _, _ in found]), job.dtype)
    if all(first >= job.numel for _, first, _ in found):
        return Cut(thresholds)
    return Cut(thresholds, tuple((first // BLOCK, quota) for _, first, quota in found))
