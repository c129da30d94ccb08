"""Thresholds of a cascade, found on rows of which the loss and the cost of every answer are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from cuvee.combine.cascade import stages
from cuvee.combine.parts import Array

Limited = Literal["cost", "loss"]

_PASSES: Final = 50
"""Most times that all thresholds are gone through; each pass must better the result, so few are needed."""


@dataclass(frozen=True, eq=False)
class Stakes:
    """What is at stake: N rows, M members in the order that they are asked in.

    Attributes:
        sure: `[M, N]`: confidence; −∞ where the member takes no part. That of the last is not looked at.
        mask: `[M, N]`.
        losses: `[M, N]`: what the row loses if the member answers.
        costs: `[M]`.
        limited: what may not go beyond `limit`, the mean loss or the mean cost; the other is made small.
        limit: in the unit of what is limited.
    """

    sure: Array
    mask: Array
    losses: Array
    costs: Array
    limited: Limited
    limit: float

    def of(self, turns: Sequence[int]) -> Stakes:
        """What is at stake if only some are asked."""
        sure, mask, losses, costs = (one[list(turns)] for one in (self.sure, self.mask, self.losses, self.costs))
        return replace(self, sure=sure, mask=mask, losses=losses, costs=costs)

    def outcome(self, at: Array) -> tuple[Array, Array]:
        """Loss and cost of every row, `[N]` each, if `at` `[N]` answers and all before it were asked."""
        rows = np.arange(len(at))
        spent = np.cumsum(np.where(self.mask, self.costs[:, None], 0.0), axis=0)
        return self.losses[at, rows], spent[at, rows]

    def ends(self, thresholds: Array) -> Array:
        """Whose answer counts, `[N]`."""
        return stages(self.sure >= np.append(thresholds, np.inf)[:, None], self.mask)

    def rank(self, loss: Array, cost: Array) -> tuple[Array, Array, Array]:
        """What is small where a result is good: by how much the limit is broken, what is made small, the other."""
        kept, small = (cost, loss) if self.limited == "cost" else (loss, cost)
        over = np.maximum(kept - self.limit, 0.0)
        return np.where(over <= 1e-9 * max(1.0, abs(self.limit)), 0.0, over), small, kept

    def value(self, thresholds: Array) -> tuple[float, float, float]:
        """The same of thresholds, their means worked out."""
        loss, cost = self.outcome(self.ends(thresholds))
        over, small, kept = self.rank(np.array([loss.mean()]), np.array([cost.mean()]))
        return float(over[0]), float(small[0]), float(kept[0])


def fitted_cascade(stakes: Stakes) -> tuple[tuple[int, ...], Array]:
    """Who is asked, and with what thresholds.

    Begins with everybody. Who can be left out without loss, as one can who never decides and only costs, is left out,
    one after the other, the greatest gain first, as long as every row keeps somebody.

    Returns:
        Numbers of the members `[m]`, in order, and thresholds `[m − 1]`.
    """
    turns = tuple(range(len(stakes.mask)))
    taus = fitted_thresholds(stakes)
    value = stakes.value(taus)
    while True:
        tries = []
        for turn in turns:
            rest = tuple(m for m in turns if m != turn)
            if rest and stakes.mask[list(rest)].any(axis=0).all():
                found = fitted_thresholds(stakes.of(rest))
                tries.append((stakes.of(rest).value(found), rest, found))
        best = min(tries, key=lambda one: one[0], default=None)
        if best is None or best[0] > value:
            return turns, taus
        value, turns, taus = best


def fitted_thresholds(stakes: Stakes) -> Array:
    """Thresholds, `[M − 1]`: first the best one for all, then each by itself as long as it gets better.

    Each step is an exact sweep: a mean is a step function of a threshold that changes at the confidences there are, and
    sums carried along give it at all of them. With two members that is the best there is; with more each threshold is
    the best given the others.
    """
    found = np.full(len(stakes.sure) - 1, shared_threshold(stakes))
    value = stakes.value(found)
    for _ in range(_PASSES):
        before = value
        for j in range(len(found)):
            trial = found.copy()
            trial[j] = own_threshold(stakes, found, j)
            if (reached := stakes.value(trial)) < value:
                found, value = trial, reached
        if value == before:
            break
    return found


def shared_threshold(stakes: Stakes) -> float:
    """The best threshold that all members have.

    A row is answered by the first member whose confidence reaches τ. As τ grows it goes on to the next member that is
    surer than all before it, and after the last of those to the end.
    """
    before = np.maximum.accumulate(np.concatenate([np.full_like(stakes.sure[:1], -np.inf), stakes.sure]))[:-1]
    surer = stakes.sure > before
    loss, cost = stakes.outcome(stakes.ends(np.full(len(stakes.sure) - 1, np.inf)))
    steps: list[Array] = [np.zeros((3, 0))]
    for m in reversed(range(len(stakes.sure) - 1)):
        here = np.flatnonzero(surer[m])
        own_loss, own_cost = stakes.outcome(np.full(len(loss), m))
        steps.append(np.stack([stakes.sure[m, here], (loss - own_loss)[here], (cost - own_cost)[here]]))
        loss[here], cost[here] = own_loss[here], own_cost[here]
    return _swept(stakes, loss.sum(), cost.sum(), np.concatenate(steps, axis=1))


def own_threshold(stakes: Stakes, thresholds: Array, j: int) -> float:
    """The best threshold of one member, those of the others as they are."""
    asked, never = thresholds.copy(), thresholds.copy()
    asked[j], never[j] = -np.inf, np.inf
    reached = (stakes.ends(asked) == j) & np.isfinite(stakes.sure[j])
    later_loss, later_cost = stakes.outcome(stakes.ends(never))
    own_loss, own_cost = stakes.outcome(np.full(len(reached), j))
    steps = np.stack([stakes.sure[j], later_loss - own_loss, later_cost - own_cost])[:, reached]
    loss, cost = np.where(reached, own_loss, later_loss), np.where(reached, own_cost, later_cost)
    return _swept(stakes, loss.sum(), cost.sum(), steps)


def _swept(stakes: Stakes, loss: float, cost: float, steps: Array) -> float:
    """The best τ: sums begin at where all stop, and change by `steps` `[3, E]` (at, loss, cost) where τ goes beyond."""
    order = np.argsort(steps[0], kind="stable")
    at, more_loss, more_cost = np.concatenate([np.array([[-np.inf], [loss], [cost]]), steps[:, order]], axis=1)
    taus = np.append(at[1:], np.inf)
    first = np.append(True, taus[1:] > taus[:-1])  # of equal confidences all rows stop, or none
    n = stakes.mask.shape[1]
    rank = stakes.rank(np.cumsum(more_loss)[first] / n, np.cumsum(more_cost)[first] / n)
    return float(taus[first][np.lexsort(rank[::-1])[0]])
