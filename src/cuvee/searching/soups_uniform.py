"""Uniform soup (Wortsman et al. 2022, arXiv:2203.05482): all models included, one candidate."""

from __future__ import annotations

from cuvee.searching.soups import check_switches
from cuvee.searching.space import Space
from cuvee.searching.strategy import Course, OneByOne


def everything(names: tuple[str, ...]) -> Course:
    """The one candidate."""
    yield dict.fromkeys(names, True)


def make(space: Space, _seed: int, _objectives: int) -> OneByOne:
    """The soup of all models.

    Raises:
        UsageError: the recipe has other holes, or no model that may be left out.
    """
    if space.holes:  # a recipe without holes is a candidate as it stands
        check_switches(space, "uniform-soup")
    return OneByOne(everything(space.switches))
