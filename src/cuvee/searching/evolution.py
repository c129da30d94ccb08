"""CMA-ES over the unit cube (Hansen 2016, arXiv:1604.00772; merging: Akiba et al. 2024, arXiv:2403.13187).

Population 4 + ⌊3 ln n⌋, σ₀ = 1/6 of every range, beginning at the recipe's `start`. A choice takes equal shares of its
interval; a range with `step` is rounded. When a distribution has come to an end, another one begins elsewhere, with
twice the population (IPOP, Auger and Hansen 2005).
"""

from __future__ import annotations

import math
import random
from collections import deque
from typing import Final

from cuvee.searching.holes import Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Gains, Strategy, refuse_space, seed_of
from cuvee.searching.through_cmaes import Distribution

SIGMA: Final = 1 / 6


class Evolution(Strategy):
    """A population at a time; a candidate that failed counts as worse than the worst of its population."""

    halves = False

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._restarts = 0
        self._population = 4 + math.floor(3 * math.log(len(space.holes)))
        self._normal = self._begun([hole.place(hole.first) for hole in space.holes])
        self._drawn: deque[list[float]] = deque()
        self._told: list[tuple[list[float], float | None]] = []

    def ask(self) -> Values | None:
        """The next member of the population, or nothing until all of it is told of."""
        if len(self._drawn) + len(self._told) >= self._population:
            return None
        self._drawn.append(self._normal.draw())
        return self._space.values(self._drawn[-1])

    def tell(self, gains: Gains | None) -> None:
        """Take in one member; with the last of a population the distribution moves."""
        self._told.append((self._drawn.popleft(), None if gains is None else gains[0]))
        if len(self._told) < self._population:
            return
        worst = min((gain for _, gain in self._told if gain is not None), default=0.0)
        self._normal.move([(point, worst - 1.0 if gain is None else gain) for point, gain in self._told])
        self._told = []
        if self._normal.is_over:
            self._begin_again()

    def _begin_again(self) -> None:
        self._restarts += 1
        self._population *= 2
        rng = random.Random(seed_of(self._seed, "restart", self._restarts))
        self._normal = self._begun([rng.random() for _ in self._space.holes])

    def _begun(self, mean: list[float]) -> Distribution:
        return Distribution(mean, SIGMA, self._population, seed_of(self._seed, "cma-es", self._restarts))


def make(space: Space, seed: int, _objectives: int) -> Evolution:
    """CMA-ES on a space.

    Raises:
        UsageError: it has fewer than two holes; cmaes is not installed.
    """
    if len(space.holes) < 2:
        message = f"CMA-ES needs two holes or more; this recipe has {len(space.holes)}"
        raise refuse_space("cma-es", message, "`--strategy coordinate` or `tpe` searches one")
    return Evolution(space, seed)
