"""Random search: every hole drawn by itself, evenly over its range or its options (Bergstra and Bengio 2012)."""

from __future__ import annotations

import random

from cuvee.searching.holes import Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Gains, Strategy, seed_of


class Sampling(Strategy):
    """The draw of a trial depends on seed and number of the trial, and on nothing that was told."""

    halves = True

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._asked = 0

    def ask(self) -> Values | None:
        """The next draw."""
        rng = random.Random(seed_of(self._seed, "trial", self._asked))
        self._asked += 1
        return self._space.values([rng.random() for _ in self._space.holes])

    def tell(self, gains: Gains | None) -> None:
        """Nothing follows from it."""


def make(space: Space, seed: int, _objectives: int) -> Sampling:
    """Random search of a space."""
    return Sampling(space, seed)
