"""What a metric is: a name, what answers it is of, which way is better, and one of three forms of arithmetic.

    Mean    the mean of a number per row
    Ratio   f(Σ numerators / Σ denominators), both per row
    Whole   anything else: a function of all rows at once

The form decides how the error bar is found and what a bootstrap costs: of the first two it is sums with other counts of
rows; of the third it may be too, and otherwise the metric is worked out anew for every draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuvee.judging.answers import Answers, Kind
from cuvee.types import Direction

Array = np.ndarray[Any, Any]
OfCounts = Callable[[Array], Array]


class Undefined(ValueError):
    """A metric has no value on these rows; the text says why."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean over rows.

    Attributes:
        rows: answers → a number per row, `[n]`.
    """

    rows: Callable[[Answers], Array]


def unchanged(ratio: Array) -> Array:
    """The ratio itself."""
    return ratio


def flat(ratio: float) -> float:  # noqa: ARG001 - a slope is asked for at a point
    """The slope of `unchanged`."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """f(Σ a / Σ b).

    Attributes:
        terms: answers → a and b per row, `[n]` each.
        outer: f, entry by entry.
        slope: its derivative at a point, for the error bar.
    """

    terms: Callable[[Answers], tuple[Array, Array]]
    outer: Callable[[Array], Array] = unchanged
    slope: Callable[[float], float] = flat


@dataclass(frozen=True, slots=True)
class Whole:
    """A function of all rows.

    Attributes:
        of: answers → the figure; raises `Undefined` where there is none.
        counted: answers → a function of counts of rows, `[draws, n]` → the figures, `[draws]`, NaN where there is none:
            the same arithmetic for rows drawn again, many times faster. Without it the rows are really drawn.
    """

    of: Callable[[Answers], float]
    counted: Callable[[Answers], OfCounts] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: its name in commands and tables.
        kinds: kinds of answers that it is of.
        direction: whether higher or lower values are better.
        form: its arithmetic.
        formula: the same in mathematics.
        range: values that it can take.
        source: where it is defined.
        needs: columns of the answers besides those that every answer of the kind has.
        also: other names that it is asked for by.
    """

    name: str
    kinds: tuple[Kind, ...]
    direction: Direction
    form: Mean | Ratio | Whole
    formula: str
    range: str
    source: str
    needs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def value_of(metric: Metric, answers: Answers) -> float:
    """The figure on these rows.

    Raises:
        Undefined: there is none, or it is no finite number.
    """
    with np.errstate(all="ignore"):
        value = _plain_value(metric, answers)
    if not np.isfinite(value):
        raise Undefined(f"it comes out as {value}")
    return value


def _plain_value(metric: Metric, answers: Answers) -> float:
    if isinstance(metric.form, Mean):
        return float(metric.form.rows(answers).mean())
    if isinstance(metric.form, Ratio):
        above, below = (terms.sum() for terms in metric.form.terms(answers))
        if below == 0:
            raise Undefined("what it is divided by sums to zero")
        return float(metric.form.outer(np.asarray(above / below)))
    return float(metric.form.of(answers))


def of_counts(metric: Metric, answers: Answers) -> OfCounts | None:
    """The metric as a function of counts of rows, if it is one; NaN or infinite where it has no value."""
    form = metric.form
    if isinstance(form, Mean):
        rows, n = form.rows(answers), len(answers)
        return lambda counts: (counts @ rows) / n
    if isinstance(form, Ratio):
        above, below = form.terms(answers)
        return lambda counts: form.outer((counts @ above) / (counts @ below))
    return None if form.counted is None else form.counted(answers)
