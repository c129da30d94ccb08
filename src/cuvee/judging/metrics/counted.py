"""Metrics of all rows at once, for rows that count several times: what a bootstrap asks for thousands of times.

Each function gives a function of counts of rows, `[draws, n]` → `[draws]`, NaN where the metric has no value. The
definitions are scikit-learn's, as in `classification`, `probabilities` and `regression`; a test holds the two together
on rows that really stand there several times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cuvee.judging.metrics.declared import Array, OfCounts


def _one_hot(numbers: Array, classes: int) -> Array:
    return np.eye(classes)[numbers]


def _tallies(truth: Array, predicted: Array, classes: int) -> Callable[[Array], tuple[Array, Array, Array]]:
    """Counts → rows of each class that are found, that there are, and that are said to be, `[draws, C]` each."""
    wanted, said = _one_hot(truth, classes), _one_hot(predicted, classes)
    found = wanted * said
    return lambda counts: (counts @ found, counts @ wanted, counts @ said)


def balanced_accuracy(truth: Array, predicted: Array, classes: int) -> OfCounts:
    """Mean over the classes that occur of the share of their rows that is found."""
    tallies = _tallies(truth, predicted, classes)

    def of_counts(counts: Array) -> Array:
        found, there, _ = tallies(counts)
        return _mean_where(found, there)

    return of_counts


def f1_macro(truth: Array, predicted: Array, classes: int) -> OfCounts:
    """Mean over the classes that occur or are said of 2 TP / (2 TP + FP + FN)."""
    tallies = _tallies(truth, predicted, classes)

    def of_counts(counts: Array) -> Array:
        found, there, said = tallies(counts)
        return _mean_where(2 * found, there + said)

    return of_counts


def _mean_where(above: Array, below: Array) -> Array:
    """Mean over the columns of a ratio, those left out that are divided by zero."""
    shares = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    mean: Array = shares.sum(axis=1) / (below > 0).sum(axis=1)
    return mean


def auc(positive: Array, scores: Array) -> OfCounts:
    """Area under the ROC curve: of all pairs of a positive and a negative row, those in the right order."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # where a run of equal scores begins
    is_positive = positive[order].astype(bool)

    def of_counts(counts: Array) -> Array:
        sorted_counts = counts[:, order]
        above = np.add.reduceat(sorted_counts * is_positive, starts, axis=1)
        below = np.add.reduceat(sorted_counts * ~is_positive, starts, axis=1)
        pairs = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
        return _or_nan(pairs, above.sum(axis=1) * below.sum(axis=1))

    return of_counts


def auc_one_vs_rest(truth: Array, probabilities: Array) -> OfCounts:
    """Mean over the classes of the area of one class against all others."""
    areas = [auc(truth == number, column) for number, column in enumerate(probabilities.T)]

    def of_counts(counts: Array) -> Array:
        mean: Array = np.mean([area(counts) for area in areas], axis=0)
        return mean

    return of_counts


def binned(excess: Array, bins: Array, number: int) -> OfCounts:
    """Σ_b |Σ excess in b| / n."""
    spread = _one_hot(bins, number) * excess[:, None]
    return lambda counts: np.abs(counts @ spread).sum(axis=1) / counts.sum(axis=1)


def r2(truth: Array, predicted: Array) -> OfCounts:
    """1 − Σ (y − ŷ)² / Σ (y − mean y)²."""
    centred = truth - truth.mean()
    terms = np.stack([centred, centred**2, (truth - predicted) ** 2], axis=1)

    def of_counts(counts: Array) -> Array:
        total, squares, errors = (counts @ terms).T
        around = squares - total**2 / counts.sum(axis=1)
        around[around <= 1e-12 * squares] = 0.0  # the same truth in all rows, but for rounding
        return 1 - _or_nan(errors, around)

    return of_counts


def _or_nan(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
