"""Members as players: what a combiner makes of any set of them, the others masked.

    v(S) = the combined prediction with only the members of S taking part;  v(∅) = what is said without any member

Without any member the shares of the classes in the bank's right answers are said, 1/K each where they are not known;
of a regression the mean of the right answers, 0 where they are not known. A row that no member of S predicts gets the
same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cuvee.combine import Array
from cuvee.predict.asking_all import calibrated, rows_of_batch
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Batch, Fitted


@dataclass(frozen=True, eq=False)
class CoalitionGame:
    """A fitted combiner on rows as a game of its members.

    Attributes:
        fitted: the combiner.
        batch: what its members said.
        nothing: `[K]`, what is said without any of them.
        players: numbers of the members that play: those that are used.
        temperature: of the calibration; `None` to leave it aside.
    """

    fitted: Fitted
    batch: Batch
    nothing: Array
    players: tuple[int, ...]
    temperature: float | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.batch.P.shape[1])

    def inside(self, coalition: int) -> Array:
        """The members of a set, bool `[M]`; bit i stands for player i."""
        there = np.zeros(len(self.fitted.members), dtype=bool)
        there[[member for place, member in enumerate(self.players) if coalition >> place & 1]] = True
        return there

    def value(self, coalition: int) -> Array:
        """v(S), `[N, K]`."""
        return self.said(self.batch, self.inside(coalition))

    def said(self, batch: Batch, inside: Array) -> Array:
        """What is predicted with these members taking part; `nothing` where none of them says anything.

        Args:
            batch: what members say.
            inside: bool `[M]`.
        """
        mask = batch.mask & inside[:, None]
        names = {name for name, there in zip(self.fitted.members, inside) if there}
        known = {name: found if name in names else found * np.nan for name, found in batch.embeddings.items()}
        heard = mask.any(axis=0)
        for found in known.values():
            heard = heard | np.isfinite(found).all(axis=1)
        whole = np.tile(self.nothing, (mask.shape[1], 1))
        if (there := np.flatnonzero(heard)).size:
            some = _taken(replace(batch, mask=mask, embeddings=known), there)
            whole[there] = calibrated(self.fitted.apply(some), self.temperature)
        return whole

    def some(self, at: Array) -> CoalitionGame:
        """The game on some of its rows."""
        return replace(self, batch=_taken(self.batch, at))


def _taken(batch: Batch, at: Array) -> Batch:
    if len(at) == batch.P.shape[1] and (np.diff(at) == 1).all():
        return batch
    return rows_of_batch(batch, at)


def players_of(fitted: Fitted) -> tuple[int, ...]:
    """The members that can change anything: those of weight zero never do."""
    used = set(fitted.used)
    return tuple(number for number, name in enumerate(fitted.members) if name in used)


def said_by_nobody(bank: Bank | None, width: int, task: str) -> Array:
    """What is said without any member, `[K]`."""
    truth = None if bank is None or bank.truth is None or not len(bank) else bank.truth
    if task == "regression":
        return np.array([0.0 if truth is None else float(truth.mean())])
    if truth is None:
        return np.full(width, 1 / width)
    return np.bincount(truth, minlength=width) / len(truth)
