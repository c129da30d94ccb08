"""What scikit-learn works out for us: metrics that are functions of all rows at once. Its only adapter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cuvee.errors import Fault, UsageError

Array = np.ndarray[Any, Any]


@contextmanager
def _metrics() -> Iterator[Any]:
    """`sklearn.metrics`, without checks of what has been checked: a bootstrap calls it thousands of times.

    Raises:
        UsageError: `missing-extra`: scikit-learn is not installed.
    """
    try:
        from sklearn import config_context, metrics
    except ImportError as error:
        message = "this metric is scikit-learn's, which is not installed"
        hint = "pip install cuvee[judge]"
        raise UsageError(Fault("missing-extra", message, subject="scikit-learn", hint=hint)) from error
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore")  # of classes that occur in predictions only: the definitions say what is done
        yield metrics


def balanced_accuracy(truth: Array, predicted: Array) -> float:
    """Mean over the classes that occur of the share of their rows that is found."""
    with _metrics() as metrics:
        return float(metrics.balanced_accuracy_score(truth, predicted))


def f1(truth: Array, predicted: Array, average: str) -> float:
    """F1, `macro` or `micro`, over classes that occur in the truth or the predictions."""
    with _metrics() as metrics:
        return float(metrics.f1_score(truth, predicted, average=average, zero_division=0.0))


def auc(positive: Array, scores: Array) -> float:
    """Area under the ROC curve of scores for 0 and 1."""
    with _metrics() as metrics:
        return float(metrics.roc_auc_score(positive, scores))


def auc_one_vs_rest(truth: Array, probabilities: Array) -> float:
    """Mean over the classes of the area under the ROC curve of one class against all others."""
    with _metrics() as metrics:
        labels = np.arange(probabilities.shape[1])
        # Rows rounded to fewer bits do not sum to one as exactly as is asked for there.
        scaled = probabilities / probabilities.sum(axis=1, keepdims=True)
        return float(metrics.roc_auc_score(truth, scaled, multi_class="ovr", average="macro", labels=labels))


def r2(truth: Array, predicted: Array) -> float:
    """Coefficient of determination."""
    with _metrics() as metrics:
        return float(metrics.r2_score(truth, predicted))
