"""The one place that speaks to cmaes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cuvee.errors import Fault, UsageError


class Distribution:
    """The normal distribution of a CMA-ES over the unit cube; points outside are drawn anew.

    Args:
        mean: where it begins, `[n]`, n ≥ 2.
        sigma: its first step size.
        population: draws of a generation.
        seed: of the draws, below 2³².

    Raises:
        UsageError: cmaes is not installed.
    """

    def __init__(self, mean: Sequence[float], sigma: float, population: int, seed: int) -> None:
        bounds = np.array([[0.0, 1.0]] * len(mean))
        inside = np.clip(np.array(mean), 1e-3, 1 - 1e-3)  # on an edge, half of all draws would be thrown away
        self._normal = _library().CMA(inside, sigma, bounds=bounds, population_size=population, seed=seed)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of it."""
        return bool(self._normal.should_stop())

    def draw(self) -> list[float]:
        """A point, `[n]`."""
        drawn: list[float] = self._normal.ask().tolist()
        return drawn

    def move(self, told: Sequence[tuple[list[float], float]]) -> None:
        """Take in a generation: points, and what each is worth."""
        self._normal.tell([(np.array(point), -gain) for point, gain in told])


def _library() -> Any:
    try:
        import cmaes
    except ImportError:
        message = "CMA-ES needs cmaes, which is not installed"
        raise UsageError(Fault("missing-extra", message, None, "cmaes", 'pip install "cuvee[search]"')) from None
    return cmaes
