"""NSGA-II (Deb et al. 2002): a population for several objectives, kept by Pareto rank and crowding."""

from __future__ import annotations

from typing import Final

from cuvee.searching.space import Space
from cuvee.searching.strategy import refuse_space
from cuvee.searching.through_optuna import OptunaStrategy

POPULATION: Final = 16
"""Members of a generation. Optuna's own 50 would spend a search of 200 trials on four generations."""


class Nsga2(OptunaStrategy):
    """NSGA-II; every objective is told by itself."""

    several = True


def make(space: Space, seed: int, objectives: int) -> Nsga2:
    """NSGA-II on a space.

    Raises:
        UsageError: there is one objective only; Optuna is not installed.
    """
    if objectives < 2:
        message = "NSGA-II needs two objectives or more; found one"
        raise refuse_space("nsga2", message, "give --objective twice, or use another strategy")
    return Nsga2(space, seed, objectives, "nsga2", POPULATION)
