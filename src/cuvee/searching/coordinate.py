"""Coordinate search: one hole after the other, a step up or down, steps halved when none helps.

    u ← start;  h ← 1/4
    for every hole i:  try u + h eᵢ, then u − h eᵢ; go there if the gain is larger
    h ← h / 2 after a round without a move;  stop below h = 1/64

A choice is tried with each of its other options, and only in rounds that follow a move, or in the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cuvee.searching.holes import Hole, Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Course, OneByOne

FIRST: Final = 1 / 4
LAST: Final = 1 / 64
"""First and smallest step, as shares of a range."""


def climb(space: Space, start: Values | None = None) -> Course:
    """The course of a coordinate search.

    Args:
        space: what is searched.
        start: where it begins; `space.start` without it.
    """
    here = dict(space.start if start is None else start)
    best = yield here
    step, moved = FIRST, True
    while step >= LAST:
        choices, moved = moved, False
        for hole in space.holes:
            for value in _neighbours(hole, here[hole.name], step, choices=choices):
                gain = yield {**here, hole.name: value}
                if gain is not None and (best is None or gain > best):
                    here, best, moved = {**here, hole.name: value}, gain, True
                    break
        if not moved:
            if all(hole.kind == "choice" for hole in space.holes):
                return
            step /= 2


def _neighbours(hole: Hole, value: object, step: float, *, choices: bool) -> Iterator[object]:
    """The values to try instead of one."""
    if hole.kind == "choice":
        yield from (option for option in hole.options if option != value and choices)
        return
    u = hole.place(value)
    tried = (hole.at(u + step), hole.at(u - step))
    yield from dict.fromkeys(one for one in tried if one != value)


def make(space: Space, _seed: int, _objectives: int) -> OneByOne:
    """Coordinate search of a space."""
    return OneByOne(climb(space))
