"""What an ensemble says of the rows of a bank, without having seen their right answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from cuvee.combine import Array
from cuvee.errors import listed
from cuvee.predict.applying import applied
from cuvee.predict.asking_all import fitted_of
from cuvee.predict.bank import Bank
from cuvee.predict.fitting import fit_inside
from cuvee.predict.nested import FEWEST, FOLDS, crossed
from cuvee.predict.state import State

How = Literal["direct", "nested", "fit"]
"""`direct`: the combiner was not fitted on these rows, or not by right answers at all; `nested`: fitted again without
each fold; `fit`: on the rows it was fitted on, because there are too few for folds. That is no honest estimate."""


@dataclass(frozen=True, eq=False)
class Estimated:
    """Predictions on the rows of a bank.

    Attributes:
        P: `[N, K]`; NaN where no member says anything.
        how: what the right answers had to do with them.
        seen: members that are used and were trained on the rows.
    """

    P: Array
    how: How
    seen: tuple[str, ...] = ()

    @property
    def is_honest(self) -> bool:
        """Whether their score is that of rows nobody has seen."""
        return self.how != "fit" and not self.seen

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known of them."""
        seen = (f"{listed(self.seen, 5)} had been trained on these rows",) if self.seen else ()
        fit = ("the combiner was fitted on these rows, which are too few for folds",) if self.how == "fit" else ()
        return (*seen, *fit)


def estimated(
    state: State,
    bank: Bank,
    folds: int = FOLDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Estimated:
    """What the ensemble says of the rows of a bank.

    Args:
        state: the version.
        bank: predictions of its members; rows that the combiner was fitted on are known by their ids.
        folds: of the nested estimate.
        seed: of the folds.
        progress: told how many of the folds are done, and how many there are.
    """
    fitted = fitted_of(state)
    seen = seen_by(bank, fitted.used)
    there = bank.only(state.names).mask.any(axis=0)
    part = bank if there.all() else bank.rows(np.flatnonzero(there))
    P = np.full(bank.P.shape[1:], np.nan)
    P[there], how = _estimated(state, part, folds, seed, progress)
    return Estimated(P, how, seen)


def _estimated(
    state: State, bank: Bank, folds: int, seed: int, progress: Callable[[int, int], None] | None
) -> tuple[Array, How]:
    knows = state.combiner.learns or state.temperature is not None
    met = has_met(state, bank)
    if not knows or not met or len(bank) < FEWEST:
        how: How = "fit" if knows and met else "direct"
        return applied(fitted_of(state), bank, state.temperature), how
    fit = partial(fit_inside, state.combiner, members=state.members, manner=state.manner)
    return crossed(fit, bank, folds, seed, progress), "nested"


def has_met(state: State, bank: Bank) -> bool:
    """Whether the combiner was fitted on rows of a bank: they have the same ids and the same right answers.

    Where ids are mere numbers, other rows have the same ones; then some of the right answers differ.
    """
    if state.bank is None:
        return False
    places = {name: place for place, name in enumerate(state.bank.ids)}
    there = [(places[name], place) for place, name in enumerate(bank.ids) if name in places]
    if not there or state.bank.truth is None or bank.truth is None:
        return bool(there)
    held, given = np.array(there).T
    return bool(np.array_equal(state.bank.truth[held], bank.truth[given]))


def seen_by(bank: Bank, names: tuple[str, ...]) -> tuple[str, ...]:
    """Members of these that were trained on the rows of a bank."""
    return tuple(n for n, how in zip(bank.members, bank.provenance) if how == "in-sample" and n in names)
