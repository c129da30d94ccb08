"""Greedy selection when members cost something and there is only so much to spend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from cuvee.combine.greedy import Loss, Running, Selection, greedy_selection
from cuvee.combine.parts import Array

EXACT: Final = 12
"""Most members of which all sets are tried."""


def selection_within(
    P: Array, mask: Array, loss: Loss, costs: Sequence[float], budget: float, *, rounds: int = 25, digits: int = 6
) -> Selection:
    """The best greedy selection whose members together cost no more than the budget.

    Members that cost more by themselves are out. Of sets of members within the budget these are tried, and on each the
    ordinary selection is made; the least loss wins, then the cheapest, then the first:

        by worth    members one after the other by (loss before − loss with m) / cost of m, while one can be paid
        by loss     the same by the loss alone: by worth is deceived where a cheap bad member shuts out a dear good one
        all sets    with at most 12 members: every set that nobody could join any more

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.
        loss: what is made small.
        costs: `[M]`, > 0.
        budget: most that the members of the result may cost together; the cheapest one must fit.
        rounds: as for `greedy_selection`.
        digits: as there.

    Source: Caruana et al. 2004 for the selection; gain by cost and the better of both: Khuller, Moss, Naor 1999, The
    Budgeted Maximum Coverage Problem.
    """
    able = [m for m in range(len(P)) if costs[m] <= budget]
    runs = Running(P, mask, loss, costs, digits)
    sets: list[Sequence[int]] = [_by_worth(runs, able, costs, budget), _by_loss(runs, able, costs, budget)]
    sets += full_sets(able, costs, budget) if len(able) <= EXACT else ()
    tried = [
        greedy_selection(P, mask, loss, rounds=rounds, among=one, costs=costs, digits=digits)
        for one in dict.fromkeys(tuple(sorted(one)) for one in sets)
    ]
    return min(tried, key=lambda one: (one.loss, spent(one, costs)))


def spent(found: Selection, costs: Sequence[float]) -> float:
    """What the members that are kept cost together."""
    return float(sum(costs[m] for m in sorted(set(found.picks[: found.kept]))))


def full_sets(able: Sequence[int], costs: Sequence[float], budget: float) -> Iterator[tuple[int, ...]]:
    """Every set within the budget that no other member fits beside.

    Example:
        >>> list(full_sets([0, 1, 2], [1.0, 2.0, 3.0], 3.0))
        [(2,), (0, 1)]
    """
    for size in range(1, len(able) + 1):
        for one in combinations(able, size):
            left = budget - sum(costs[m] for m in one)
            if left >= 0 and all(costs[m] > left for m in able if m not in one):
                yield one


def _by_worth(run: Running, able: Sequence[int], costs: Sequence[float], budget: float) -> list[int]:
    """Before any is taken, the loss is that of the worst alone: the least that a first member must better."""
    run.restart(())
    before = max(run.loss_with(m) for m in able)
    while rest := _payable(run.picks, able, costs, budget):
        gain = {m: (before - run.loss_with(m)) / costs[m] for m in rest}
        run.take(max(rest, key=lambda m: gain[m]))
        before = run.losses[-1]
    return run.picks


def _by_loss(run: Running, able: Sequence[int], costs: Sequence[float], budget: float) -> list[int]:
    run.restart(())
    while rest := _payable(run.picks, able, costs, budget):
        run.take(min(rest, key=run.rank))
    return run.picks


def _payable(taken: Sequence[int], able: Sequence[int], costs: Sequence[float], budget: float) -> list[int]:
    left = budget - sum(costs[m] for m in taken)
    return [m for m in able if m not in taken and costs[m] <= left]
