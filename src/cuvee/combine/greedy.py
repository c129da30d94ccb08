"""Greedy ensemble selection: members are taken in one after the other, again and again, by what the mean gains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cuvee.combine.mean import weighted_mean
from cuvee.combine.parts import Array

Loss = Callable[[Array], float]
"""Combined predictions `[N, K]` → a number, lower is better."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What a selection came to.

    Attributes:
        picks: numbers of members in the order that they were taken in, with repetitions.
        losses: loss of the mean after each of them, rounded.
        kept: picks that count: the first so many.
    """

    picks: tuple[int, ...]
    losses: tuple[float, ...]
    kept: int

    @property
    def loss(self) -> float:
        """Loss of what is kept, rounded."""
        return self.losses[self.kept - 1]

    def weights(self, members: int) -> Array:
        """How often each was taken over how often any was, `[M]`."""
        counts = np.bincount(self.picks[: self.kept], minlength=members)
        share: Array = counts / self.kept
        return share


def greedy_selection(
    P: Array,
    mask: Array,
    loss: Loss,
    *,
    rounds: int = 25,
    first: int = 0,
    among: Sequence[int] | None = None,
    costs: Sequence[float] | None = None,
    digits: int = 6,
) -> Selection:
    """Take in, round by round, the member with which the mean of all that were taken is best; keep the best beginning.

        S_t = S_(t−1) + [m_t],  m_t = argmin_m loss(mean of S_(t−1) + [m]),  result: the best S_t, the shortest

    A member may be taken many times: that gives weights. Equal losses are decided for a member that is in already, then
    for the cheaper one, then by order; losses that agree in `digits` digits are equal, so that copies of a member do
    not come in beside it. In a row where none of those taken takes part, the mean of all who do counts, as in `shares`;
    if the members kept leave such rows, those who cover them are taken in besides, the best one first.

    The sum of those taken is carried along, so that a candidate costs one addition and one division: the same as
    `weighted_mean` with their counts, up to rounding.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.
        loss: what is made small.
        rounds: how many are taken, ≥ 1.
        first: the best so many, each by itself, are taken before the search begins.
        among: numbers of the members that may be taken; all without it.
        costs: `[M]`, what they cost; all the same without them.
        digits: significant digits of losses.

    Raises:
        InputError: `no-member`: a row has nobody.

    Example:
        >>> P = np.array([[[1.0]], [[-1.0]], [[5.0]]])
        >>> found = greedy_selection(P, np.ones((3, 1), bool), lambda x: abs(float(x[0, 0])), rounds=4)
        >>> found.picks, found.losses, found.kept
        ((0, 1, 0, 1), (1.0, 0.0, 0.333333, 0.0), 2)

    Source: Caruana, Niculescu-Mizil, Crew, Ksikes 2004, Ensemble Selection from Libraries of Models, section 2; the
    start is their section 2.2. They keep all rounds; that the best beginning is kept is usual since (AutoGluon).
    """
    run = Running(P, mask, loss, costs, digits)
    able = list(range(len(P)) if among is None else among)
    alone = sorted(able, key=run.rank) if first else []
    for m in alone[:first]:
        run.take(m)
    while len(run.picks) < rounds:
        run.take(min(able, key=run.rank))
    kept = run.losses.index(min(run.losses)) + 1
    return _covering(run, able, kept)


class Running:
    """A selection on its way: the sum of those taken, and how many of them take part in each row."""

    def __init__(self, P: Array, mask: Array, loss: Loss, costs: Sequence[float] | None, digits: int) -> None:
        self._mask, self._loss, self._costs, self._digits = mask, loss, costs, digits
        self._everyone = weighted_mean(P, mask)
        self._whole = bool(mask.all())
        self._values = P if self._whole else np.where(mask[:, :, None], P, 0.0)
        self._parts = np.ones((len(P), 1, 1)) if self._whole else mask[:, :, None].astype(np.float64)
        self.restart(())

    def restart(self, picks: Sequence[int]) -> None:
        """Begin anew with some taken."""
        self._sum, self._count = np.zeros_like(self._everyone), np.zeros_like(self._parts[0])
        self.picks: list[int] = []
        self.losses: list[float] = []
        for m in picks:
            self.take(m)

    def rank(self, m: int) -> tuple[float, bool, float, int]:
        """What candidates are compared by: loss, whether they would be new, cost, order."""
        return self.loss_with(m), m not in self.picks, self._costs[m] if self._costs is not None else 0.0, m

    def loss_with(self, m: int) -> float:
        """The loss of the mean if m were taken, rounded."""
        count = self._count + self._parts[m]
        mean = self._sum + self._values[m]
        np.divide(mean, count, out=mean, where=count > 0)
        if not self._whole:
            np.copyto(mean, self._everyone, where=count == 0)
        return float(f"{self._loss(mean):.{self._digits - 1}e}")

    def take(self, m: int) -> None:
        """Take m in."""
        self.losses.append(self.loss_with(m))
        self._sum += self._values[m]
        self._count += self._parts[m]
        self.picks.append(m)

    def uncovered(self) -> Array:
        """Rows in which none of those taken takes part."""
        return np.logical_not(self._mask[self.picks].any(axis=0))

    def adds(self, m: int, rows: Array) -> bool:
        """Whether m takes part in some of these rows."""
        return bool((self._mask[m] & rows).any())


def _covering(run: Running, able: Sequence[int], kept: int) -> Selection:
    """The first picks, and with them who it takes so that rows that anybody could predict are predicted."""
    if run._whole:
        return Selection(tuple(run.picks), tuple(run.losses), kept)
    tried, losses = run.picks, run.losses
    run.restart(tried[:kept])
    if not run.uncovered().any():
        return Selection(tuple(tried), tuple(losses), kept)
    while wanted := [m for m in able if run.adds(m, run.uncovered())]:
        run.take(min(wanted, key=run.rank))
    return Selection(tuple(run.picks), tuple(run.losses), len(run.picks))
