"""New rows with right answers: the combiner is fitted again with them, no member is trained, and drift is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, integer_faults, refuse
from cuvee.judging.bootstrap import Difference, paired
from cuvee.predict.applying import applied
from cuvee.predict.asking_all import Asking, fitted_of, wanting
from cuvee.predict.bank import Bank
from cuvee.predict.drift import Drift, drift_of
from cuvee.predict.editing import refitted
from cuvee.predict.evidence import asked_bank, below
from cuvee.predict.honest import estimated
from cuvee.predict.judged import METRICS, answers_of
from cuvee.predict.rows import Rows
from cuvee.predict.state import State

ENSEMBLE = "ensemble"
"""What the ensemble is called beside its members."""


@dataclass(frozen=True, eq=False)
class Update:
    """What an update found and did.

    Attributes:
        version: the version it made.
        did: in words.
        new_rows: rows that came.
        kept_rows: rows that stayed of those that were there.
        drift: of each member, and of the ensemble before it was fitted again; that comes last.
        effect: by how much the new combiner is better on the new rows, each predicted by a fit without it; `None` where
            nothing was fitted.
        before: member → share, where a weighted mean was taken.
        after: the same now.
        notes: what should be known.
    """

    version: int
    did: str
    new_rows: int
    kept_rows: int
    drift: tuple[Drift, ...]
    effect: Difference | None
    before: Mapping[str, float] | None
    after: Mapping[str, float] | None
    notes: tuple[str, ...] = ()

    def as_rows(self) -> list[dict[str, Any]]:
        """The drift as a table."""
        return [
            {
                "name": one.name,
                "metric": one.metric,
                "before": None if one.before is None else one.before.value,
                "after": None if one.after is None else one.after.value,
                "change": one.change.value,
                "p": one.p_value,
                "psi": one.psi,
                "shift_p": one.shift_p_value,
                "alarm": one.is_alarming,
            }
            for one in self.drift
        ]


def update(
    state: State,
    rows: Rows,
    y: Any,
    asking: Asking,
    view: Array | None = None,
    *,
    decay: float | None = None,
    window: int | None = None,
) -> tuple[State, Update]:
    """Fit the combiner again with new rows.

    Every member is asked about the new rows; that is all that is done to members. Old rows are forgotten by `decay`, of
    which each stays with that probability, so that after t updates a row is there with probability decayᵗ; or by
    `window`, the number of newest rows that stay.

    Args:
        state: the present version.
        rows: the new rows. Where their ids are mere numbers that the bank has already, they get others.
        y: the right answer of each.
        asking: how members are asked.
        view: `[N, D]`, the rows' own numbers.
        decay: (0, 1]; all old rows stay without it.
        window: 1 or more.

    Returns:
        The next version, and what was found and done.

    Raises:
        UsageError: `bad-argument`; `no-member`: there are no members.
        InputError: `rows-differ`: a row is in the bank already; and what asking and fitting raise.
    """
    refuse(_faults(decay, window))
    fitted = fitted_of(state)
    held = state.bank if state.bank is not None and set(state.names) <= set(state.bank.members) else None
    asked = asked_bank(asking, state.members, _renamed(rows, state), y, view, wanting(fitted, state.members))
    fresh = asked.covered()
    bank, kept = _joined(None if held is None else held.only(state.names), fresh, decay, window, state.number)
    made = refitted(state, f"update with {len(fresh):,} rows", state.members, bank)
    return made, _told(state, made, held, fresh, kept)


def _faults(decay: float | None, window: int | None) -> Iterator[Fault]:
    if decay is not None and not (isinstance(decay, int | float) and 0 < decay <= 1):
        yield Fault("bad-argument", f"`decay` must be above 0 and at most 1; found {decay!r}", subject="decay")
    if window is not None:
        yield from integer_faults("window", window, least=1)


def _renamed(rows: Rows, state: State) -> Rows:
    """Rows with ids of their own, where theirs are mere numbers that the bank knows."""
    known = () if state.bank is None else state.bank.ids
    if set(known).isdisjoint(rows.ids) or rows.ids != tuple(map(str, range(len(rows)))):
        return rows
    return replace(rows, ids=tuple(f"update-{state.number + 1}-{name}" for name in rows.ids))


def _joined(held: Bank | None, fresh: Bank, decay: float | None, window: int | None, seed: int) -> tuple[Bank, int]:
    """The bank to fit on, and how many old rows stayed."""
    kept, whole = 0, fresh
    if held is not None:
        stay = np.arange(len(held))
        if decay is not None:
            stay = np.flatnonzero(np.random.default_rng(seed).random(len(held)) < decay)
        whole = below(held, fresh).rows([*stay, *range(len(held), len(held) + len(fresh))])
        kept = len(stay)
    if window is None or window >= len(whole):
        return whole, kept
    return whole.rows(range(len(whole) - window, len(whole))), max(0, window - len(fresh))


def _told(state: State, made: State, held: Bank | None, fresh: Bank, kept: int) -> Update:
    """The report."""
    was = applied(fitted_of(state), fresh, state.temperature)
    news = np.concatenate([fresh.P, was[None]])
    olds = None
    if held is not None:
        olds = np.concatenate([held.only(state.names).P, estimated(state, held).P[None]])
    names = [*state.names, ENSEMBLE]
    notes = list(made.notes)
    if held is None and state.bank is not None:
        notes.append("the old rows are dropped: the bank does not know all members")
    return Update(
        version=made.number,
        did=_did(made, kept, len(fresh)),
        new_rows=len(fresh),
        kept_rows=kept,
        drift=drift_of(names, held, olds, fresh, news),
        effect=_effect(made, fresh, was),
        before=shares_of(state),
        after=shares_of(made),
        notes=tuple(notes),
    )


def _did(made: State, kept: int, new: int) -> str:
    rows = f"{new:,} new rows and {kept:,} old ones"
    if not made.combiner.learns and made.temperature is None:
        return f"{made.combiner.name}: there is nothing to fit; {rows} are kept"
    return f"{made.combiner.name} fitted again on {rows}"


def _effect(made: State, fresh: Bank, was: Array) -> Difference | None:
    """The new combiner against the old on the new rows."""
    bank = made.bank
    if bank is None or (not made.combiner.learns and made.temperature is None):
        return None
    new = set(fresh.ids)
    there = [place for place, name in enumerate(bank.ids) if name in new]
    at = {name: place for place, name in enumerate(fresh.ids)}
    part = bank.rows(there)
    now = estimated(made, bank).P[there]
    before = was[[at[name] for name in part.ids]]
    return paired(answers_of(now, part), answers_of(before, part), METRICS[bank.task][0])


def shares_of(state: State) -> Mapping[str, float] | None:
    """Member → share, where a weighted mean is taken."""
    found = None if state.fitted is None else state.fitted.weights
    if state.fitted is None or found is None:
        return None
    return dict.fromkeys(state.names, 0.0) | {n: float(w) for n, w in zip(state.fitted.members, found)}
