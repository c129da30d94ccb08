"""Grid search: every combination, in the order of the recipe, the last hole changing fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Final

from cuvee.searching.holes import Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Gains, Strategy, refuse_space

MOST: Final = 100_000
"""Combinations above which a grid is surely a mistake."""


class Grid(Strategy):
    """Every combination of the points of all holes; see `Hole.points`."""

    halves = True

    def __init__(self, space: Space) -> None:
        names = [hole.name for hole in space.holes]
        self._left: Iterator[Values] = (
            dict(zip(names, point)) for point in product(*(hole.points() for hole in space.holes))
        )

    def ask(self) -> Values | None:
        """The next combination."""
        return next(self._left, None)

    def tell(self, gains: Gains | None) -> None:
        """Nothing follows from it."""


def size(space: Space) -> int:
    """Number of combinations."""
    return math.prod(len(hole.points()) for hole in space.holes)


def make(space: Space, _seed: int, _objectives: int) -> Grid:
    """The grid of a space.

    Raises:
        UsageError: it has too many combinations for any search.
    """
    if (count := size(space)) > MOST:
        message = f"a grid should have at most {MOST:,} combinations; this one has {count:,}"
        raise refuse_space("grid", message, "give ranges a larger `step`, or use another strategy")
    return Grid(space)
