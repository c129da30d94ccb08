"""A metric of one model's answers, with its error bar."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from cuvee.errors import Fault, InputError
from cuvee.judging.answers import Answers
from cuvee.judging.metrics.declared import Array, Mean, Metric, Ratio, Undefined, value_of
from cuvee.judging.metrics.known import metric_named
from cuvee.judging.resampling import resampled
from cuvee.judging.soundness import check_answers
from cuvee.types import Score

STDERR_DRAWS: Final = 200
STDERR_SEED: Final = 0
"""Draws and seed of the bootstrap that gives the error bar of what is a function of all rows at once."""


def score_of(answers: Answers, metric: str | Metric) -> Score:
    """What the answers are worth by a metric.

    The standard error is that of a mean, s/√n, where the metric is a mean of rows; by the delta method where it is a
    function of a ratio of sums, f(Σa/Σb):

        se = |f′(r)| / |Σb| · √(n/(n−1) Σ (aᵢ − r bᵢ)²),   r = Σa/Σb

    and otherwise the standard deviation of the metric over 200 bootstrap draws of the rows with seed 0.

    Args:
        answers: of one model on one task.
        metric: a metric or its name.

    Raises:
        UsageError: there is no such metric, or not of this kind of answers; or scikit-learn is needed and not there.
        InputError: `bad-answers`: the answers are damaged; `undefined-metric`: the metric has no value on them.
    """
    chosen = metric_named(metric, answers.kind) if isinstance(metric, str) else metric
    check_answers(answers)
    return sound_score(answers, chosen)


def sound_score(answers: Answers, metric: Metric) -> Score:
    """The same for answers that have been checked.

    Raises:
        InputError: `undefined-metric`.
    """
    refuse_lacking(answers, metric)
    try:
        value = value_of(metric, answers)
    except Undefined as error:
        raise InputError(no_value(metric, answers, str(error))) from error
    rows = tuple(metric.form.rows(answers).tolist()) if isinstance(metric.form, Mean) else None
    return Score(metric.name, value, _stderr(metric, answers, rows), len(answers), metric.direction, rows)


def no_value(metric: Metric, answers: Answers, why: str) -> Fault:
    """The fault of a metric without a value."""
    message = f"`{metric.name}` has no value on these {len(answers):,} answers ({answers.kind}): {why}"
    return Fault("undefined-metric", message, subject=metric.name, hint="choose another metric, or rows that have one")


def refuse_lacking(answers: Answers, metric: Metric) -> None:
    """Refuse answers that lack a column.

    Raises:
        InputError: `undefined-metric`.
    """
    if lacking := [name for name in metric.needs if name not in answers.columns]:
        raise InputError(no_value(metric, answers, f"it needs the column `{lacking[0]}`, which they do not have"))


def _stderr(metric: Metric, answers: Answers, rows: tuple[float, ...] | None) -> float:
    """The standard error; NaN for a single row."""
    n = len(answers)
    if n < 2:
        return math.nan
    if rows is not None:
        return float(np.std(rows, ddof=1)) / math.sqrt(n)
    if isinstance(metric.form, Ratio):
        return _delta(metric.form, *metric.form.terms(answers))
    values = resampled(metric, [answers], draws=STDERR_DRAWS, seed=STDERR_SEED)[0]
    values = values[np.isfinite(values)]
    return float(np.std(values, ddof=1)) if len(values) > STDERR_DRAWS // 2 else math.nan


def _delta(form: Ratio, above: Array, below: Array) -> float:
    n, ratio = len(above), float(above.sum() / below.sum())
    spread = math.sqrt(n / (n - 1) * float(((above - ratio * below) ** 2).sum()))
    return abs(form.slope(ratio)) * spread / abs(float(below.sum()))
