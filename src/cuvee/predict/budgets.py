"""A hard budget: which members may be asked so that together they cost no more than allowed. Never relaxed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

from cuvee.errors import Fault, InputError, UsageError, listed, refuse
from cuvee.predict.applying import applied
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Combiner, Fitted
from cuvee.predict.judged import gain_of
from cuvee.predict.member import Member

UNITS: Final = {"us_per_row": "µs per row", "nbytes": "bytes", "memory": "bytes of memory"}
"""What can be limited, and what it is counted in; costs of members add up."""
EXACT: Final = 12
"""Members up to which all sets within the budget are looked at."""
MOST_FITS: Final = 300
"""Sets that are fitted; where there are more, members are taken one by one instead."""

Costs = Mapping[str, Mapping[str, float]]
"""Member → unit → cost."""


def within(combiner: Combiner, bank: Bank, members: Sequence[Member], budget: Mapping[str, float] | None) -> Fitted:
    """Fit a combiner so that the members it asks keep to a budget.

    Members that do not keep to it alone are out. Where what is left costs too much together, up to 12 members: every
    set within the budget is fitted; for combiners that learn, and so leave out what does harm, only those that no
    member can be added to. Where these are more than 300, or the members more than 12: from none, whoever gains most
    for the share of the budget it takes joins until nobody fits in. Sets are compared by the combined score on the
    bank, and the nested estimate does all this again on every fold.

    Args:
        combiner: its settings.
        bank: predictions of the members.
        members: who may be asked.
        budget: unit → most that the members asked may cost together; `None`: anything.

    Raises:
        UsageError: `bad-argument`: a unit or a limit, or a cost not measured.
        InputError: `over-budget`: nobody keeps to it; what fitting raises.
    """
    if budget is None:
        return combiner.fit(bank)
    limits = checked_limits(budget)
    costs = costs_of(members, tuple(limits))
    fitting = [name for name in bank.members if keeps(costs, [name], limits)]
    if not fitting:
        raise InputError([_too_dear(costs, unit, limit) for unit, limit in limits.items()])
    if (
        set(limits) == {"us_per_row"} and getattr(combiner, "budget", limits) is None
    ):  # greedy selection keeps to it itself
        return replace(combiner, budget=limits).priced({name: costs[name]["us_per_row"] for name in costs}).fit(bank)  # type: ignore[call-arg]
    found = combiner.fit(bank.only(fitting))
    if keeps(costs, found.used, limits):
        return found
    sets = list(_sets(fitting, costs, limits, only_largest=combiner.learns)) if len(fitting) <= EXACT else []
    if not sets or len(sets) > MOST_FITS:
        return _one_by_one(combiner, bank, fitting, costs, limits)
    tried = [combiner.fit(bank.only(names)) for names in sets]
    return max(tried, key=lambda one: worth(one, bank))


def worth(fitted: Fitted, bank: Bank) -> float:
    """The usual score on a bank; nothing where a row has nobody."""
    part = bank.only(fitted.members)
    return gain_of(applied(fitted, bank), bank) if part.mask.any(axis=0).all() else -math.inf


def checked_limits(budget: Mapping[str, float]) -> dict[str, float]:
    """The limits, all of them positive numbers in units there are.

    Raises:
        UsageError: `bad-argument`, all faults.
    """
    wrong = []
    for unit, limit in budget.items():
        if unit not in UNITS:
            message = f"a budget is of {listed(UNITS)}; found {unit!r}"
            wrong.append(Fault("bad-argument", message, subject="budget"))
        elif not isinstance(limit, int | float) or isinstance(limit, bool) or not limit > 0:
            message = f"the budget of `{unit}` must be a number above 0, in {UNITS[unit]}; found {limit!r}"
            wrong.append(Fault("bad-argument", message, subject="budget"))
    refuse(wrong if budget else [Fault("bad-argument", "a budget must name a limit; found none", subject="budget")])
    return {unit: float(limit) for unit, limit in budget.items()}


def costs_of(members: Sequence[Member], units: Sequence[str]) -> Costs:
    """What members cost.

    Raises:
        UsageError: `bad-argument`: costs that were not measured, all of them.
    """
    lacking = [(m.name, unit) for m in members for unit in units if m.cost is None or getattr(m.cost, unit) is None]
    if lacking:
        what = listed((f"{unit} of {name}" for name, unit in lacking), 5)
        message = f"to keep to a budget every member's cost must be known; not measured: {what}"
        raise UsageError(
            Fault("bad-argument", message, subject=lacking[0][0], hint="measure it when the member is made")
        )
    return {m.name: {unit: float(getattr(m.cost, unit)) for unit in units} for m in members}


def keeps(costs: Costs, names: Sequence[str], limits: Mapping[str, float]) -> bool:
    """Whether members together keep to all limits."""
    return all(math.fsum(costs[name][unit] for name in names) <= limit for unit, limit in limits.items())


def _too_dear(costs: Costs, unit: str, limit: float) -> Fault:
    name = min(costs, key=lambda one: costs[one][unit])
    message = (
        f"no member keeps to {unit} ≤ {limit:g}; the cheapest is {name!r} with {costs[name][unit]:.4g} {UNITS[unit]}"
    )
    return Fault("over-budget", message, subject=name)


def _sets(
    names: Sequence[str], costs: Costs, limits: Mapping[str, float], *, only_largest: bool
) -> Iterator[tuple[str, ...]]:
    """Sets of members within the limits; only those that no member can be added to, or all."""
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            if not keeps(costs, chosen, limits):
                continue
            more = (keeps(costs, (*chosen, other), limits) for other in names if other not in chosen)
            if not (only_largest and any(more)):
                yield chosen


def _one_by_one(
    combiner: Combiner, bank: Bank, names: Sequence[str], costs: Costs, limits: Mapping[str, float]
) -> Fitted:
    """From none, whoever gains most for the share of the budget it takes joins, as long as somebody gains and fits."""
    chosen: tuple[str, ...] = ()
    best: tuple[float, Fitted | None] = (-math.inf, None)
    while True:
        tried = []
        for name in names:
            if name in chosen or not keeps(costs, (*chosen, name), limits):
                continue
            fitted = combiner.fit(bank.only([one for one in names if one in (*chosen, name)]))
            share = max(costs[name][unit] / limit for unit, limit in limits.items())
            gained = worth(fitted, bank)
            rate = gained if best[1] is None else (gained - best[0]) / max(share, 1e-12)
            tried.append((rate, gained, name, fitted))
        better = [one for one in tried if one[1] > best[0] or best[1] is None]
        if not better:
            assert best[1] is not None, "somebody keeps to the budget alone"
            return best[1]
        _, gained, name, fitted = max(better, key=lambda one: one[0])
        chosen, best = (*chosen, name), (gained, fitted)
