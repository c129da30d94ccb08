"""How far a number is off: mean absolute error, root of the mean square, share of variance explained."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from cuvee.judging.answers import Answers, Kind
from cuvee.judging.metrics import counted, from_sklearn
from cuvee.judging.metrics.declared import Array, Mean, Metric, OfCounts, Ratio, Undefined, Whole


def _pair(answers: Answers) -> tuple[Array, Array]:
    return answers.columns["truth"].astype(np.float64), answers.columns["predicted"].astype(np.float64)


def _distances(answers: Answers) -> Array:
    truth, predicted = _pair(answers)
    distances: Array = np.abs(truth - predicted)
    return distances


def _squares(answers: Answers) -> tuple[Array, Array]:
    truth, predicted = _pair(answers)
    return (truth - predicted) ** 2, np.ones(len(answers))


def _half_inverse_root(square: float) -> float:
    return 0.5 / math.sqrt(square) if square > 0 else 0.0  # all errors are zero: so is the error bar


def _r2(answers: Answers) -> float:
    truth, predicted = _pair(answers)
    if len(truth) < 2 or (truth == truth[0]).all():
        raise Undefined("it is a share of the truth's variance, and the truth is the same in all rows")
    return from_sklearn.r2(truth, predicted)


def _r2_counted(answers: Answers) -> OfCounts:
    return counted.r2(*_pair(answers))


_KIND: Final[tuple[Kind, ...]] = ("regression",)

METRICS = (
    Metric(
        "mae",
        _KIND,
        "lower",
        Mean(_distances),
        "1/n Σ |y − ŷ|",
        "[0, ∞), the unit of y",
        "the same as scikit-learn mean_absolute_error",
    ),
    Metric(
        "rmse",
        _KIND,
        "lower",
        Ratio(_squares, np.sqrt, _half_inverse_root),
        "√(1/n Σ (y − ŷ)²)",
        "[0, ∞), the unit of y",
        "the same as scikit-learn root_mean_squared_error",
    ),
    Metric(
        "r2",
        _KIND,
        "higher",
        Whole(_r2, _r2_counted),
        "1 − Σ (y − ŷ)² / Σ (y − mean y)²",
        "(−∞, 1]",
        "scikit-learn r2_score",
    ),
)
