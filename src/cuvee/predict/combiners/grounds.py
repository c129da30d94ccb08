"""What combiners that learn stand on: rows that somebody predicted, enough of each class, and a loss to make small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from cuvee.combine import Array, weighted_mean
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.judging.metrics import Metric, Undefined, metric_named
from cuvee.judging.metrics.declared import value_of
from cuvee.judging.metrics.scoring import no_value
from cuvee.predict.bank import Bank, class_names
from cuvee.predict.combiners.declared import check_honest
from cuvee.predict.trained import Task

FEWEST: Final = 30
"""Rows of each class below which what was learned from them is not to be trusted."""


def grounds_of(
    bank: Bank, *, allow_in_sample: bool = False, fewest: int = 0, seen: Array | None = None
) -> tuple[Bank, dict[str, Any]]:
    """The rows that a combiner may learn from, and what is to be said of them.

    Rows that nobody predicted, as time-series splits leave them, are left out and counted.

    Args:
        bank: what was asked.
        allow_in_sample: take predictions on rows that members were trained on.
        fewest: rows of each class that there must be; if rows were left out, at least 30.

        seen: bool `[N]`, rows of which something is known; those that a member predicted without it.

    Returns:
        The bank on these rows, and facts as JSON can say them.

    Raises:
        InputError: `missing-label`, `in-sample`; `no-member`: no members; `too-few-rows`: no rows, one class only, or a
            class with too few rows; all that can be known.
    """
    check_honest(bank, allow_in_sample=allow_in_sample)
    if not bank.members:
        raise InputError(Fault("no-member", "a combiner that is fitted needs at least one member; the bank has none"))
    known: Array = np.asarray(bank.mask.any(axis=0) if seen is None else seen)
    left_out = int((~known).sum())
    used = bank.rows(np.flatnonzero(known)) if left_out else bank
    if wrong := row_faults(used, max(fewest, FEWEST if left_out else 0), left_out):
        raise InputError(wrong)
    facts: dict[str, Any] = {"rows": len(used)}
    if left_out:
        facts["rows_left_out"] = left_out
    if trained := [name for name, how in zip(bank.members, bank.provenance) if how == "in-sample"]:
        facts["in_sample"] = trained
    if thin := {name: n for name, n in rows_of_classes(used).items() if n < FEWEST}:
        facts["few_rows"] = thin
        few = listed((f"{name} has {n}" for name, n in thin.items()), 5)
        facts["notes"] = [f"with fewer than {FEWEST} rows of a class ({few}) what was found is not to be trusted"]
    return used, facts


def joined(*facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts together; the notes of all of them one after the other."""
    whole = {name: value for one in facts for name, value in one.items()}
    notes = list(dict.fromkeys(note for one in facts for note in one.get("notes", ())))
    return {**whole, "notes": notes} if notes else whole


def rows_of_classes(bank: Bank) -> dict[str, int]:
    """How many rows each class has; nothing for a regression."""
    if bank.truth is None or bank.task == "regression":
        return {}
    counts = np.bincount(bank.truth, minlength=len(bank.classes))
    return {name: int(n) for name, n in zip(class_names(bank.classes), counts)}


def row_faults(bank: Bank, fewest: int, left_out: int = 0) -> list[Fault]:
    """What is wrong with the rows of a bank for who would learn from them."""
    without = f" ({left_out:,} rows that nobody predicted are left out)" if left_out else ""
    if not len(bank):
        return [Fault("too-few-rows", f"a combiner is fitted on rows; the bank has none{without}")]
    counts = rows_of_classes(bank)
    if bank.task == "regression":
        counts = {"the bank": len(bank)}
    elif sum(n > 0 for n in counts.values()) < 2:
        only = next(label for label, n in counts.items() if n)
        message = f"there must be rows of at least two classes; all {len(bank):,} rows are of {only!r}{without}"
        return [Fault("too-few-rows", message, subject=only)]
    thin = {label: n for label, n in counts.items() if n < fewest}
    if not thin:
        return []
    found = listed((f"{label} has {n}" for label, n in thin.items()), 5)
    hint = "give more rows; a vote or weights by score need fewer, and `fewest` takes what there is"
    message = f"{_each(bank)} must have at least {fewest} rows; {found}{without}"
    return [Fault("too-few-rows", message, subject=next(iter(thin)), hint=hint)]


def _each(bank: Bank) -> str:
    return "the bank" if bank.task == "regression" else "each class"


def probable_of(bank: Bank) -> tuple[bool, ...]:
    """For each member whether it says probabilities; all do in a bank that does not say."""
    return tuple(bank.probable) or (True,) * len(bank.members)


def metric_for(task: Task, name: str | None) -> Metric:
    """The metric of that name for that task; log loss, or the root of the mean square, without one.

    Raises:
        UsageError: there is none, or it is of another kind of answers.
    """
    return metric_named(name or ("log_loss" if task == "classification" else "rmse"), task)


def figure_of(bank: Bank, combined: Array, metric: Metric) -> float:
    """The metric of combined predictions.

    Raises:
        InputError: `undefined-metric`.
    """
    answers = bank.answers_of(combined)
    try:
        return value_of(metric, answers)
    except Undefined as error:
        raise InputError(no_value(metric, answers, str(error))) from error


def loss_of(bank: Bank, metric: Metric) -> Callable[[Array], float]:
    """The metric as a loss: combined predictions `[N, K]` → a number, lower is better."""
    sign = 1.0 if metric.direction == "lower" else -1.0
    return lambda combined: sign * figure_of(bank, combined, metric)


def alone(bank: Bank, m: int) -> Array:
    """What one member says, `[N, K]`; where it says nothing, the mean of the others."""
    own = bank.mask[m]
    said: Array = bank.P[m]
    if own.all():
        return said
    said = said.copy()
    said[~own] = weighted_mean(bank.P[:, ~own], bank.mask[:, ~own])
    return said


def best_alone(bank: Bank, metric: Metric, among: Sequence[int] | None = None) -> tuple[int, float]:
    """The member that is best by itself, and its figure; the first of equal ones."""
    figures = {m: figure_of(bank, alone(bank, m), metric) for m in among or range(len(bank.members))}
    better = min if metric.direction == "lower" else max
    best = better(figures, key=lambda m: figures[m])
    return best, figures[best]


def mapping_faults(name: str, found: Any) -> list[Fault]:
    """What is wrong with an argument that must be member → positive number."""
    good = isinstance(found, Mapping) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) and value > 0
        for value in found.values()
    )
    message = f"`{name}` must be member → microseconds per row, above 0; found {found!r}"
    return [] if good else [Fault("bad-argument", message, subject=name)]


def costs_of(bank: Bank, costs: Mapping[str, float] | None, what: str) -> list[float]:
    """The cost of every member of a bank, in order.

    Raises:
        UsageError: some are not known.
    """
    known = costs or {}
    if lacking := [name for name in bank.members if name not in known]:
        message = f"{what} needs what every member costs; {listed(map(repr, lacking), 5)} are not in `costs`"
        hint = "measure the members, or give `costs={member: microseconds per row}`"
        raise UsageError(Fault("bad-argument", message, subject=lacking[0], hint=hint))
    return [float(known[name]) for name in bank.members]
