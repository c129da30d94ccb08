"""Rows drawn again with replacement, the same for every model, and what a metric is on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from cuvee.judging.answers import Answers
from cuvee.judging.metrics.declared import Array, Metric, OfCounts, Undefined, of_counts, value_of

Seed = int | Sequence[int]

_BLOCK: Final = 1 << 20
"""Rows drawn at a time: what bounds the memory."""


def row_draws(n: int, draws: int, seed: Seed, strata: Sequence[str] | None = None) -> Iterator[Array]:
    """Numbers of rows drawn with replacement, `[some, n]` at a time, `draws` rows in all.

    Args:
        n: rows of the task.
        draws: how many times n rows are drawn.
        seed: of the random numbers, ≥ 0; same seed, same rows.
        strata: a group for each row: as many rows of each group are drawn as it has.
    """
    generator = np.random.default_rng(seed)
    parts = _parts(n, strata)
    step = max(1, _BLOCK // n)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        yield np.concatenate([rows[generator.integers(len(rows), size=(size, len(rows)))] for rows in parts], axis=1)


def _parts(n: int, strata: Sequence[str] | None) -> list[Array]:
    """The rows of each stratum."""
    if strata is None:
        return [np.arange(n)]
    names = np.asarray(strata)
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def resampled(
    metric: Metric, several: Sequence[Answers], *, draws: int, seed: Seed, strata: Sequence[str] | None = None
) -> Array:
    """A metric of several models on the same draws of rows, `[models, draws]`; NaN where it has no value.

    Args:
        metric: the metric.
        several: answers of the models on the same rows in the same order.
        draws: how many times the rows are drawn.
        seed: as for `row_draws`.
        strata: as for `row_draws`.
    """
    functions = [of_counts(metric, answers) for answers in several]
    bare = [replace(answers, groups=None) for answers in several]  # which nothing below looks at
    found = []
    for block in row_draws(len(several[0]), draws, seed, strata):
        counts = _counts(block, len(several[0])) if any(functions) else block
        found.append([_counted(f, counts) if f else _drawn(metric, a, block) for f, a in zip(functions, bare)])
    return np.concatenate(found, axis=1)


def _counted(function: OfCounts, counts: Array) -> Array:
    """Each model's figures are worked out on their own, in one way: equal answers get equal figures, bit for bit."""
    with np.errstate(all="ignore"):
        values = function(counts)
    return np.where(np.isfinite(values), values, np.nan)


def _drawn(metric: Metric, answers: Answers, block: Array) -> Array:
    return np.array([_value(metric, answers.take(rows)) for rows in block])


def _counts(block: Array, n: int) -> Array:
    """How often each row was drawn, `[draws, n]`."""
    size = len(block)
    places = (block + np.arange(size)[:, None] * n).ravel()
    return np.bincount(places, minlength=size * n).reshape(size, n).astype(np.float64)


def _value(metric: Metric, answers: Answers) -> float:
    try:
        return value_of(metric, answers)
    except Undefined:
        return float("nan")
