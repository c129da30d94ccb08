"""What which score costs at least: members, votes of some, the combiner on ever more of them, and pairs in turn.

Nothing is fitted to the front itself; but the best of many points looks better than it is, the more so the fewer rows
there are. The interval of each point says how far its own score can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np

from cuvee.combine import Array, weighted_mean
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.predict.bank import Bank
from cuvee.predict.budgets import UNITS, checked_limits
from cuvee.predict.combiners.grounds import loss_of, metric_for
from cuvee.predict.costing import cost_of
from cuvee.predict.fitting import fit_inside
from cuvee.predict.honest import estimated, seen_by
from cuvee.predict.judged import Estimate, answers_of, estimate, higher_is_better, metrics_of
from cuvee.predict.nested import FEWEST, crossed
from cuvee.predict.state import State

Kind = Literal["member", "vote", "combiner", "in turn", "ensemble"]
ALL_SETS: Final = 8
"""Members up to which every vote of some of them is a point."""
_SENT_ON: Final = (0.1, 0.2, 0.3, 0.5, 0.7)
"""Shares of the rows that a cheap member sends on to a dear one."""


@dataclass(frozen=True, eq=False)
class Point:
    """One way to predict.

    Attributes:
        name: what it is.
        kind: `member`; `vote`: soft vote of some; `combiner`: the ensemble's combiner of some, nested; `in turn`: a
            cheap member, and a dear one where the cheap one is unsure; `ensemble`: the ensemble as it is.
        members: who is asked.
        cost: of a row.
        score: the figure with its interval.
        on_front: whether no point costs as little and is as good, one of both being better.
    """

    name: str
    kind: Kind
    members: tuple[str, ...]
    cost: float
    score: Estimate
    on_front: bool = False


@dataclass(frozen=True, eq=False)
class Front:
    """Points by cost.

    Attributes:
        metric: what `score` is.
        unit: what `cost` is counted in.
        points: all of them, the cheapest first.
        higher: whether a higher score is better.
        limit: the budget; `None` for none.
        notes: what should be known.
    """

    metric: str
    unit: str
    points: tuple[Point, ...]
    higher: bool
    limit: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that none beats, the cheapest first."""
        return tuple(point for point in self.points if point.on_front)

    @property
    def chosen(self) -> Point:
        """The best point within the budget, or of all; of equal ones the cheapest."""
        return self.within(self.limit) if self.limit is not None else self.within(float("inf"))

    def within(self, limit: float) -> Point:
        """The best point that costs no more than a limit.

        Raises:
            InputError: `over-budget`, with the cheapest.
        """
        fitting = [point for point in self.points if point.cost <= limit]
        if not fitting:
            cheapest = self.points[0]
            message = (
                f"nothing keeps to {self.unit} ≤ {limit:g}; the cheapest is {cheapest.name!r} "
                f"with {cheapest.cost:.4g} {UNITS[self.unit]}"
            )
            raise InputError(Fault("over-budget", message, subject=cheapest.name))
        sign = 1 if self.higher else -1
        return max(fitting, key=lambda point: (sign * point.score.value, -point.cost))

    def as_rows(self) -> list[dict[str, Any]]:
        """The points as a table."""
        return [
            {
                "name": one.name,
                "kind": one.kind,
                self.unit: one.cost,
                self.metric: one.score.value,
                f"{self.metric}_low": one.score.low,
                f"{self.metric}_high": one.score.high,
                "front": one.on_front,
            }
            for one in self.points
        ]


def non_dominated(costs: Array, gains: Array) -> Array:
    """Which points no other beats, bool `[n]`: none costs as little and gains as much, one of both strictly.

    Args:
        costs: `[n]`, lower is better.
        gains: `[n]`, higher is better.

    Example:
        >>> non_dominated(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.5, 0.9, 0.6, 0.9])).tolist()
        [True, True, False, False]
    """
    order = np.lexsort((-gains, costs))
    kept = np.zeros(len(costs), dtype=bool)
    best, at = -np.inf, np.nan  # the best gain so far, and what it costs
    for place in order:
        if gains[place] > best or (gains[place] == best and costs[place] == at):
            kept[place] = True
            best, at = gains[place], costs[place]
    return kept


def pareto(
    state: State,
    bank: Bank,
    *,
    metric: str | None = None,
    budget: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Front:
    """Cost against score.

    Args:
        state: the version.
        bank: predictions of its members with right answers; members that were trained on the rows are left out.
        metric: the metric; log-loss or RMSE without one.
        budget: one limit, such as `{"us_per_row": 300}`; its unit is what cost is counted in, µs per row without it.
        seed: of the folds.

    Raises:
        UsageError: `bad-argument`: the budget, or a member whose cost was not measured.
        InputError: `over-budget`: nothing keeps to the budget, with what the cheapest costs; `missing-label`.
    """
    unit, limit = _limit(budget)
    chosen = metrics_of(bank.task, None if metric is None else [metric])[0]
    part = bank.only(state.names).covered()
    seen = seen_by(part, state.names)
    honest = [name for name in state.names if name not in seen and part.mask[part.members.index(name)].all()]
    _refuse_unmeasured(state, honest, unit)
    points = list(_points(state, part, honest, chosen, unit, seed))
    if not points:
        message = f"no member can be judged on all {len(part):,} rows of the bank; trained on them: {listed(seen, 5)}"
        raise InputError(Fault("in-sample", message, hint="use rows held out"))
    made = _marked(points, higher_is_better(chosen, bank.task))
    left = [name for name in state.names if name not in honest]
    notes = (f"{listed(left, 5)} left out: trained on the rows, or silent on some",) if left else ()
    front = Front(chosen, unit, made, higher_is_better(chosen, bank.task), limit, notes)
    assert front.chosen, "refused where nothing keeps to the budget"
    return front


def _limit(budget: Mapping[str, float] | None) -> tuple[str, float | None]:
    if budget is None:
        return "us_per_row", None
    limits = checked_limits(budget)
    if len(limits) > 1:
        message = f"a front is of one cost; the budget names {listed(limits)}"
        raise UsageError(Fault("bad-argument", message, subject="budget"))
    return next(iter(limits.items()))


def _refuse_unmeasured(state: State, names: Sequence[str], unit: str) -> None:
    if lacking := [name for name in names if cost_of(state, [name], unit=unit) is None]:
        message = f"every member's cost must be known; {unit} was not measured of {listed(lacking, 5)}"
        raise UsageError(Fault("bad-argument", message, subject=lacking[0], hint="measure the members' cost first"))


def _points(state: State, bank: Bank, names: Sequence[str], metric: str, unit: str, seed: int) -> Iterator[Point]:
    """All points, in no order."""

    def point(name: str, kind: Kind, members: Sequence[str], P: Array, cost: float | None = None) -> Point:
        paid = cost_of(state, members, unit=unit) if cost is None else cost
        assert paid is not None, "refused before"
        return Point(name, kind, tuple(members), paid, estimate(answers_of(P, bank), metric))

    for name in names:
        yield point(name, "member", [name], bank.only([name]).P[0])
    learns = state.combiner.learns and len(bank) >= FEWEST
    path = _path(bank, names, metric) if learns or len(names) > ALL_SETS else []
    for members in _sets(names, path):
        part = bank.only(members)
        yield point("soft of " + ", ".join(members), "vote", members, weighted_mean(part.P, part.mask))
    if learns:
        for members, P in _combined(state, bank, path, seed):
            yield point(f"{state.combiner.name} of " + ", ".join(members), "combiner", members, P)
    if bank.task == "classification" and unit == "us_per_row":
        for cheap, dear, sent, P in _in_turn(state, bank, names):
            one, two = (cost_of(state, [name], unit=unit) or 0.0 for name in (cheap, dear))
            yield point(f"{cheap}, then {dear} for {sent:.0%}", "in turn", [cheap, dear], P, one + sent * two)
    whole = estimated(state, bank, seed=seed)
    used = () if state.fitted is None else state.fitted.used
    if whole.is_honest and (cost := cost_of(state, used, state.fitted, bank, unit)) is not None:
        yield point("ensemble", "ensemble", used, whole.P, cost)


def _sets(names: Sequence[str], path: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every set of two members or more, or the first of a path where these are too many."""
    if len(names) <= ALL_SETS:
        for size in range(2, len(names) + 1):
            yield from combinations(names, size)
        return
    yield from (tuple(path[:size]) for size in range(2, len(path) + 1))


def _path(bank: Bank, names: Sequence[str], metric: str) -> list[str]:
    """Members in the order in which each adds most to the soft vote of those before it."""
    loss = loss_of(bank, metric_for(bank.task, metric))
    chosen: list[str] = []
    while len(chosen) < len(names):
        losses = {}
        for name in names:
            if name not in chosen:
                part = bank.only([*chosen, name])
                losses[name] = loss(weighted_mean(part.P, part.mask))
        chosen.append(min(losses, key=lambda name: losses[name]))
    return chosen


def _combined(state: State, bank: Bank, path: Sequence[str], seed: int) -> Iterator[tuple[tuple[str, ...], Array]]:
    """The ensemble's combiner of the first two, three … members of a path, on rows it was not fitted on."""
    for size in range(2, len(path) + 1):
        names = tuple(name for name in state.names if name in path[:size])
        members = [member for member in state.members if member.name in names]
        some = bank.only(names)
        yield names, crossed(lambda rows, m=members: fit_inside(state.combiner, rows, m, state.manner), some, seed=seed)  # type: ignore[misc]


def _in_turn(state: State, bank: Bank, names: Sequence[str]) -> Iterator[tuple[str, str, float, Array]]:
    """A cheap member for the rows it is surest of, a dear one for the others."""
    prices = {name: cost_of(state, [name]) or 0.0 for name in names}
    for cheap in names:
        first = bank.only([cheap]).P[0]
        order = np.argsort(first.max(axis=1), kind="stable")
        for dear in names:
            if prices[dear] <= prices[cheap]:
                continue
            for share in _SENT_ON:
                unsure = order[: round(share * len(bank))]
                P = first.copy()
                P[unsure] = bank.only([dear]).P[0][unsure]
                yield cheap, dear, len(unsure) / len(bank), P


def _marked(points: Sequence[Point], higher: bool) -> tuple[Point, ...]:
    costs = np.array([point.cost for point in points])
    gains = np.array([point.score.value if higher else -point.score.value for point in points])
    kept = non_dominated(costs, gains)
    order = np.lexsort((-gains, costs))
    return tuple(
        Point(one.name, one.kind, one.members, one.cost, one.score, bool(kept[place]))
        for place in order
        for one in (points[place],)
    )
