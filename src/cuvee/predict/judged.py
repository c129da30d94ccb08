"""Predictions as the judge takes them, so that its metrics and error bars are those of any model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import metric_named, score_of
from cuvee.predict.bank import Bank
from cuvee.predict.trained import Task

METRICS: Final[dict[Task, tuple[str, ...]]] = {
    "classification": ("log_loss", "accuracy", "ece"),
    "regression": ("rmse", "mae"),
}
"""What ensembles are judged by, the metric that decides first."""

_NORMAL: Final = 1.959963984540054
"""A normal variable is within so many standard errors in 95 of 100 cases."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; NaN where there is none to give.

    Attributes:
        value: the figure.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


def answers_of(P: Array, bank: Bank) -> Answers:
    """Predictions on the rows of a bank as answers of a model.

    Args:
        P: `[N, K]`, probabilities that sum to one, or values.
        bank: whose rows and right answers they are of.

    Raises:
        InputError: `missing-label`: the bank has no right answers.
    """
    truth_in(bank)
    return bank.answers_of(P)


def truth_in(bank: Bank) -> Array:
    """The right answers.

    Raises:
        InputError: `missing-label`: there are none; `too-few-rows`: no rows.
    """
    if bank.truth is None:
        message = "to judge predictions there must be the right answer of every row; the bank has none"
        raise InputError(Fault("missing-label", message, subject="y", hint="give `y` with the rows"))
    if not len(bank):
        raise InputError(Fault("too-few-rows", "there should be at least one row; the bank has none"))
    return bank.truth


def said_by(bank: Bank, name: str) -> Answers | None:
    """What one member says of the rows that it predicted; `None` if it predicted none.

    Scores of any scale become the certainty of the highest: of these only how often they are right means anything.
    """
    at = bank.members.index(name)
    part = bank.rows(np.flatnonzero(bank.mask[at]))
    if not len(part):
        return None
    P = part.P[at]
    if bank.task == "classification" and bank.probable and not bank.probable[at]:
        P = np.eye(P.shape[1])[P.argmax(axis=1)]
    return answers_of(P, part)


def estimate(answers: Answers, metric: str) -> Estimate:
    """A metric with its interval: 1.96 standard errors on both sides, within what the metric can be."""
    found = score_of(answers, metric)
    half = _NORMAL * found.stderr
    low, high = found.value - half, found.value + half
    if math.isfinite(half) and metric in ("accuracy", "ece", "log_loss", "rmse", "mae", "brier"):
        low = max(0.0, low)
    if math.isfinite(half) and metric in ("accuracy", "ece"):
        high = min(1.0, high)
    return Estimate(found.value, low, high)


def gain_of(P: Array, bank: Bank, metric: str | None = None) -> float:
    """What predictions are worth, larger is better.

    Args:
        P: `[N, K]`.
        bank: whose rows they are of.
        metric: the usual one without it.
    """
    return score_of(answers_of(P, bank), metric or METRICS[bank.task][0]).gain


def higher_is_better(metric: str, task: Task) -> bool:
    """Which way a metric points.

    Raises:
        UsageError: there is no such metric for the task.
    """
    return metric_named(metric, task).direction == "higher"


def metrics_of(task: Task, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics that were asked for, or the usual ones; the first decides.

    Raises:
        UsageError: there is no such metric for the task.
    """
    names = METRICS[task] if asked is None else tuple(asked)
    return tuple(metric_named(name, task).name for name in names)
