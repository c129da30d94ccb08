"""Greedy soup (Wortsman et al. 2022, arXiv:2203.05482, recipe 1).

    every model alone, best first:  m₁, m₂, …
    soup ← {m₁};  for i = 2 …:  soup ← soup ∪ {mᵢ}  if the gain of that is not smaller

So the soup is never worth less than the best single model, on the rows that it was chosen on. What "soup" means is the
recipe's: with `linear` and equal weights it is the average of the paper.
"""

from __future__ import annotations

from cuvee.searching.holes import Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Course, OneByOne, refuse_space


class GreedySoup(OneByOne):
    """Of equally good soups the one with more models is the result, as in the paper."""

    latest = True


def greedy(names: tuple[str, ...]) -> Course:
    """The course of a greedy soup over switches."""
    gains: dict[str, float] = {}
    for name in names:
        gain = yield _with(names, {name})
        if gain is not None:
            gains[name] = gain
    order = sorted(gains, key=lambda name: -gains[name])
    if not order:
        return
    soup, best = {order[0]}, gains[order[0]]
    for name in order[1:]:
        gain = yield _with(names, soup | {name})
        if gain is not None and gain >= best:
            soup, best = soup | {name}, gain


def _with(names: tuple[str, ...], included: set[str]) -> Values:
    return {name: name in included for name in names}


def check_switches(space: Space, strategy: str) -> None:
    """Refuse what is free in other ways than that models are included or not.

    Raises:
        UsageError: it is, or no model may be left out.
    """
    others = [hole.name for hole in space.holes if hole.name not in space.switches]
    if others or not space.switches:
        found = f"the hole `{others[0]}`" if others else "none"
        message = (
            f"a soup is searched over `include: {{choose: [true, false]}}` of models, and nothing else; found {found}"
        )
        raise refuse_space(strategy, message, "write values into the other holes")


def make(space: Space, _seed: int, _objectives: int) -> GreedySoup:
    """A greedy soup of the models that a recipe may include.

    Raises:
        UsageError: the recipe has other holes, or no such model.
    """
    check_switches(space, "greedy-soup")
    return GreedySoup(greedy(space.switches))
