"""What sets of parts came to on a task, so that every figure made of them has the error bar that it can have.

rows     the score is a mean over rows: what each row adds
draws    it is not: the score on rows drawn again with replacement, the same for every set
neither  no error bar
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

FEW: Final = 6
"""Where fewer rows differ, all in one direction, chance alone does so in more than 5 of 100 cases: 2 / 2⁵."""
_NORMAL: Final = 1.959963984540054
"""A normal variable is within so many standard errors in 95 of 100 cases."""
_DIGITS: Final = 1e-14
_STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_LEAST: Final = 0.5
"""Share of the draws that must have a value."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one set came to: gains, larger is better.

    Attributes:
        value: the figure.
        rows: what each row adds, `[n]`, where it is their mean.
        draws: the figure on rows drawn again, `[B]`, NaN where it has none; where it is no mean.
    """

    value: float
    rows: Array | None = None
    draws: Array | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, its standard error and its 95 % interval; NaN where there is none to give.

    Attributes:
        value: the figure.
        stderr: its standard error.
        differing: rows on which it is not nothing; `None` where that is not known.
        half: half the width of the interval, where it is not that of a normal variable.
    """

    value: float
    stderr: float = math.nan
    differing: int | None = None
    half: float | None = None

    @property
    def is_doubtful(self) -> bool:
        """Whether its interval rests on so few rows that it is too narrow; on none there is nothing to doubt."""
        return math.isfinite(self.stderr) and self.differing is not None and 0 < self.differing < FEW

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value + self._half

    @property
    def _half(self) -> float:
        return _NORMAL * self.stderr if self.half is None else self.half

    def with_drawing(self, error: float, pairs: int) -> Figure:
        """The same with the error of drawn orders: of few pairs that is itself uncertain, hence Student's t."""
        half = math.hypot(_NORMAL * self.stderr, student(pairs - 1) * error)
        return replace(self, stderr=math.hypot(self.stderr, error), half=half)


def student(freedom: int) -> float:
    """What Student's t is within in 95 of 100 cases.

    Args:
        freedom: its degrees of freedom, 1 or more.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL  # the first terms of Cornish and Fisher's expansion
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean of several, row by row where they all have rows."""
    value = math.fsum(one.value for one in outcomes) / len(outcomes)
    return Outcome(value, _mean([one.rows for one in outcomes]), _mean([one.draws for one in outcomes]))


def _mean(several: Sequence[Array | None]) -> Array | None:
    found = [one for one in several if one is not None]
    return np.mean(found, axis=0) if len(found) == len(several) and len({len(one) for one in found}) == 1 else None


def combined(weights: Array, outcomes: Sequence[Outcome]) -> list[Figure]:
    """Weighted sums of outcomes, with the errors that come from rows: paired, because all are on the same rows.

    Args:
        weights: `[figures, outcomes]`.
        outcomes: of the sets.
    """
    each = np.array([one.value for one in outcomes])
    values, errors = weights @ each, row_errors(weights, outcomes)
    # what cancels, cancels up to the last digits of what it is made of
    values = np.where(np.abs(values) < _DIGITS * np.abs(each).max(), 0.0, values)
    counts = differing(weights, outcomes)
    return [Figure(float(value), float(error), n) for value, error, n in zip(values, errors, counts, strict=True)]


def row_errors(weights: Array, outcomes: Sequence[Outcome]) -> Array:
    """Standard errors over rows, `[figures]`: s/√n of the rows' own figures, or the spread over the draws; else NaN."""
    rows = _stacked([one.rows for one in outcomes])
    if rows is not None and rows.shape[1] > 1:
        return (weights @ rows).std(axis=1, ddof=1) / math.sqrt(rows.shape[1])  # type: ignore[no-any-return]
    draws = _stacked([one.draws for one in outcomes])
    if draws is not None:
        whole = draws[:, np.isfinite(draws).all(axis=0)]
        if whole.shape[1] > _LEAST * draws.shape[1] and whole.shape[1] > 1:
            return (weights @ whole).std(axis=1, ddof=1)  # type: ignore[no-any-return]
    return np.full(len(weights), math.nan)


def sampling_errors(pairs: Array, outcomes: Sequence[Outcome]) -> Array:
    """Standard errors that come from the drawn orders, `[parts]`: the spread over pairs; 0 where none are drawn.

    Args:
        pairs: weights by pair of orders, `[pairs, parts, outcomes]`.
        outcomes: of the sets.
    """
    if not len(pairs):
        return np.zeros(pairs.shape[1])
    each = pairs @ np.array([one.value for one in outcomes])
    return each.std(axis=0, ddof=1) / math.sqrt(len(each))  # type: ignore[no-any-return]


def differing(weights: Array, outcomes: Sequence[Outcome]) -> list[int | None]:
    """On how many rows each weighted sum is not nothing; `None` without rows."""
    rows = _stacked([one.rows for one in outcomes])
    if rows is None:
        return [None] * len(weights)
    return [int(count) for count in (np.abs(weights @ rows) > _DIGITS * 100 * np.abs(rows).max()).sum(axis=1)]


def _stacked(several: Sequence[Array | None]) -> Array | None:
    found = [one for one in several if one is not None]
    return np.stack(found) if len(found) == len(several) and len({len(one) for one in found}) == 1 else None
