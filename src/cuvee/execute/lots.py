"""Cutting a plan into lots of about equal output bytes, for workers in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cuvee.checkpoint.journal import Entry
from cuvee.execute.resume import Finished, Range
from cuvee.execute.work import Bench
from cuvee.planning.model import Step
from cuvee.planning.room import DEFAULT_TILE
from cuvee.types import DTYPES

GRAIN: Final = DEFAULT_TILE
"""Elements: a tensor is cut at multiples of it only, so that tiles and chunks of fingerprints stay whole."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What one worker writes at a time.

    Attributes:
        ranges: by output tensor, in the plan's order.
        nbytes: their bytes.
    """

    ranges: Mapping[str, Sequence[Range]]
    nbytes: int


def cut(bench: Bench, count: int) -> list[Lot]:
    """Cut what is left of a plan into lots of about equal bytes; each is a run of neighbours in the output.

    A tensor that is measured before it is written stays whole: every part of it would have to measure all of it.

    Args:
        bench: the run; its ledger says what is left.
        count: about how many lots.

    Returns:
        The lots, the largest first: begun last, it would be waited for.
    """
    portions = [portion for step in bench.plan.steps for portion in _left(bench, step)]
    most = max(1, -(-sum(nbytes for _, _, nbytes in portions) // count))
    groups: list[list[_Portion]] = []
    room = 0
    for portion in (smaller for whole in portions for smaller in _smaller(bench, whole, most)):
        if portion[2] > room:  # a lot of its own, or one with what follows
            groups.append([])
            room = most
        groups[-1].append(portion)
        room -= portion[2]
    return sorted(map(_lot, groups), key=lambda lot: -lot.nbytes)


_Portion = tuple[Step, Sequence[Range], int]
"""A tensor, ranges of it, and their bytes."""


def _left(bench: Bench, step: Step) -> Iterator[_Portion]:
    ranges = bench.ledger.left(step, [(0, step.out.numel)] if step.out.numel else [])
    if ranges:
        yield _portion(step, ranges)


def _portion(step: Step, ranges: Sequence[Range]) -> _Portion:
    return step, ranges, sum(stop - start for start, stop in ranges) * DTYPES[step.out.dtype].size


def _smaller(bench: Bench, portion: _Portion, most: int) -> Iterator[_Portion]:
    """A portion cut to at most so many bytes, where that saves work."""
    step, ranges, nbytes = portion
    if nbytes <= most or not is_divisible(bench, step):
        yield portion
        return
    width = max(1, most // DTYPES[step.out.dtype].size // GRAIN) * GRAIN
    for start, stop in ranges:
        cuts = [start, *range((start // GRAIN) * GRAIN + width, stop, width), stop]
        yield from (_portion(step, [one]) for one in pairwise(cuts))


def is_divisible(bench: Bench, step: Step) -> bool:
    """Whether parts of a tensor can be written without measuring all of it."""
    is_measured = step.action == "merge" and bench.method.measure(bench.job(step), 0, None) is not None
    return not is_measured and GRAIN % step.grain == 0


def _lot(portions: Sequence[_Portion]) -> Lot:
    ranges: dict[str, list[Range]] = {}
    for step, more, _ in portions:
        ranges.setdefault(step.out.name, []).extend(more)
    return Lot(ranges, sum(nbytes for _, _, nbytes in portions))


def all_but(steps: Sequence[Step], left: Callable[[Step], Sequence[Range]]) -> Finished:
    """What somebody else does of some tensors, as if it were finished; fingerprints of it are not known."""
    return Finished({step.out.name: [*_gaps(step, left(step))] for step in steps})


def _gaps(step: Step, ranges: Sequence[Range]) -> Iterator[Entry]:
    ends = [0, *(end for one in sorted(ranges) for end in one), step.out.numel]
    for start, stop in zip(ends[::2], ends[1::2]):
        if start < stop:
            yield Entry(step.out.name, start, stop, b"")
