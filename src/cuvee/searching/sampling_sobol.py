"""Values spread evenly: a Sobol sequence, scrambled by the seed (Owen), which has no two draws close together."""

from __future__ import annotations

from typing import Any

import torch

from cuvee.searching.holes import Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Gains, Strategy, refuse_space, seed_of


class Sobol(Strategy):
    """The next point of the sequence; nothing that is told changes it."""

    halves = True

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        engine: Any = torch.quasirandom.SobolEngine
        self._points = engine(len(space.holes), scramble=True, seed=seed_of(seed, "sobol"))

    def ask(self) -> Values | None:
        """The next point."""
        return self._space.values(self._points.draw(1, dtype=torch.float64)[0].tolist())

    def tell(self, gains: Gains | None) -> None:
        """Nothing follows from it."""


def make(space: Space, seed: int, _objectives: int) -> Sobol:
    """A sequence over a space.

    Raises:
        UsageError: no sequence has so many dimensions.
    """
    most = torch.quasirandom.SobolEngine.MAXDIM
    if not 1 <= len(space.holes) <= most:
        message = f"a Sobol sequence should have 1 to {most} holes; this recipe has {len(space.holes)}"
        raise refuse_space("sobol", message)
    return Sobol(space, seed)
