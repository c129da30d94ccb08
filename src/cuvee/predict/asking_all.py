"""One version of an ensemble asked: its members' answers gathered, combined, calibrated."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.predict.answers import ask
from cuvee.predict.combiners.declared import Batch, Fitted
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task

OnError = Literal["raise", "mask"]
"""What is done when a member fails: `raise`, or `mask`: it is left out of these rows and the others make up for it."""

_log = logging.getLogger("cuvee.predict")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one version of an ensemble says of rows.

    Attributes:
        P: `[N, K]`, what was combined and calibrated.
        version: the number of the state that said it.
        asked: members that were asked; those of weight zero are not.
        failed: member → why it was left out; empty unless failures are masked.
    """

    P: Array
    version: int
    asked: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)


def answered(
    state: State,
    rows: Rows,
    classes: Sequence[Label],
    task: Task,
    on_error: OnError = "raise",
    view: Array | None = None,
) -> Prediction:
    """Ask the members of one state and combine what they say.

    Args:
        state: the version that answers.
        rows: what is asked.
        classes: of the ensemble.
        task: of the ensemble.
        on_error: what is done when a member fails.
        view: `[N, D]`, the rows' own numbers, for combiners that look at them.

    Raises:
        UsageError: `no-member`: there are no members yet.
        InputError: as `answers.ask`, unless failures are masked; `no-member`: nobody is left for a row.
    """
    fitted = fitted_of(state)
    batch, failed = gathered(state, rows, classes, task, on_error, view)
    try:
        pooled = fitted.apply(batch)
    except InputError as error:
        raise (_with_reasons(error, failed) if failed else error) from None
    return Prediction(calibrated(pooled, state.temperature), state.number, fitted.used, failed)


def fitted_of(state: State) -> Fitted:
    """The combiner that answers.

    Raises:
        UsageError: `no-member`.
    """
    if state.fitted is None:
        raise UsageError(Fault("no-member", "the ensemble has no members yet", hint="`add` one"))
    return state.fitted


def gathered(
    state: State, rows: Rows, classes: Sequence[Label], task: Task, on_error: OnError, view: Array | None = None
) -> tuple[Batch, dict[str, str]]:
    """What the members that count say, in the order of the fitted combiner, and who failed.

    Members of weight zero are not asked: they are masked throughout, as are those that failed.
    """
    fitted = fitted_of(state)
    by_name: dict[str, Member] = {member.name: member for member in state.members}
    width = len(classes) if task == "classification" else 1
    P = np.full((len(fitted.members), len(rows), width), np.nan)
    mask = np.zeros(P.shape[:2], dtype=bool)
    embeddings: dict[str, Array] = {}
    failed: dict[str, str] = {}
    for number, name in enumerate(fitted.members):
        if name not in fitted.used:
            continue
        try:
            found = ask(by_name[name], rows, classes, task)
        except InputError as error:
            if on_error == "raise":
                raise
            failed[name] = str(error.faults[0].message)
            _log.warning("left out of %d rows: %s", len(rows), failed[name])
            continue
        P[number], mask[number] = found.P, found.mask
        if found.embeddings is not None:
            embeddings[name] = found.embeddings
    return Batch(P, mask, view, embeddings), failed


def _with_reasons(error: InputError, failed: Mapping[str, str]) -> InputError:
    """The error of rows that nobody is left for, with why members are missing."""
    causes = [Fault("member-failed", why, subject=name) for name, why in failed.items()]
    first = error.faults[0]
    message = f"{first.message}; left out: {listed(failed, 5)}"
    return InputError([Fault(first.code, message, first.place, first.subject, first.hint), *causes])


def calibrated(pooled: Array, temperature: float | None) -> Array:
    """softmax(ln p / T); as it is without a temperature."""
    if temperature is None:
        return pooled
    from cuvee.combine.temperature import apply_temperature

    return apply_temperature(pooled, temperature)
