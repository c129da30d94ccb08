"""Tree-structured Parzen estimators (Bergstra et al. 2011): densities of good and bad values, of all holes jointly.

The first ten trials are drawn at random; Optuna's sampler, with its own defaults but for `multivariate`.
"""

from __future__ import annotations

from cuvee.searching.space import Space
from cuvee.searching.through_optuna import OptunaStrategy


class Tpe(OptunaStrategy):
    """TPE on the mean of all objectives."""

    halves = True


def make(space: Space, seed: int, _objectives: int) -> Tpe:
    """TPE on a space.

    Raises:
        UsageError: Optuna is not installed.
    """
    return Tpe(space, seed, 1, "tpe")
