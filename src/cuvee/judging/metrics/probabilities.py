"""What probabilities are worth: log loss, Brier score, calibration error."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.judging.answers import Answers, Kind
from cuvee.judging.metrics import counted
from cuvee.judging.metrics.classification import predicted_of, probabilities_of, truth_of
from cuvee.judging.metrics.declared import Array, Mean, Metric, OfCounts, Whole

BINS: Final = 15
"""Bins of equal width that confidences are sorted into, as in the paper."""

_LEAST: Final = float(np.finfo(np.float64).eps)
"""What a probability of zero counts as: log loss would be infinite. scikit-learn's choice too."""


def _surprise(answers: Answers) -> Array:
    right = probabilities_of(answers)[np.arange(len(answers)), truth_of(answers)]
    surprise: Array = -np.log(np.clip(right, _LEAST, 1 - _LEAST))
    return surprise


def _squares(answers: Answers) -> Array:
    probabilities = probabilities_of(answers)
    wanted = np.eye(probabilities.shape[1])[truth_of(answers)]
    squares: Array = ((probabilities - wanted) ** 2).sum(axis=1)
    return squares / 2 if probabilities.shape[1] == 2 else squares


def _excess(answers: Answers) -> tuple[Array, Array]:
    """By how much each row is surer than right, and its bin."""
    confidence = probabilities_of(answers).max(axis=1)
    excess = confidence - (predicted_of(answers) == truth_of(answers))
    return excess, np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _calibration_error(answers: Answers) -> float:
    excess, bins = _excess(answers)
    return float(np.abs(np.bincount(bins, excess, minlength=BINS)).sum() / len(answers))


def _calibration_error_counted(answers: Answers) -> OfCounts:
    excess, bins = _excess(answers)
    return counted.binned(excess, bins, BINS)


_KIND: Final[tuple[Kind, ...]] = ("classification",)

METRICS = (
    Metric(
        "log_loss",
        _KIND,
        "lower",
        Mean(_surprise),
        "1/n Σ −ln p(y), p cut to [2.2e-16, 1 − 2.2e-16]",
        "[0, 36.04], nats",
        "the same as scikit-learn log_loss",
    ),
    Metric(
        "brier",
        _KIND,
        "lower",
        Mean(_squares),
        "1/n Σ Σ_c (p(c) − [y = c])², halved where there are two classes",
        "[0, 2]; [0, 1] with two classes",
        "Brier 1950; the same as scikit-learn brier_score_loss",
    ),
    Metric(
        "ece",
        _KIND,
        "lower",
        Whole(_calibration_error, _calibration_error_counted),
        f"Σ_b n_b/n |accuracy(b) − mean confidence(b)|, {BINS} bins of equal width, closed above, of the largest p",
        "[0, 1]",
        "Guo et al. 2017, arXiv:1706.04599, eq. 3",
    ),
)
