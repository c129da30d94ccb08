"""The threshold below which a row goes to the large model: every possible one looked at.

A row goes to the large model where its confidence is below the threshold. Rows of equal confidence go together, so n
rows have at most n + 1 different thresholds, from none to all.

    share(t) = 1/n #{c_i < t}
    score(t) = 1/n ( Σ_{c_i ≥ t} small_i + Σ_{c_i < t} large_i )
    cost(t)  = cost of small + share(t) · cost of large            the small one answers every row first
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuvee.errors import Fault, InputError

Array = np.ndarray[Any, Any]
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold comes to on some rows.

    Attributes:
        threshold: rows of less confidence go to the large model; −∞ for none, ∞ for all.
        share: of rows that do.
        cost: mean per row.
        score: mean per row.
    """

    threshold: float
    share: float
    cost: float
    score: float


def sweep(
    confidences: Sequence[float] | Array,
    small: Sequence[float] | Array,
    large: Sequence[float] | Array,
    costs: tuple[float, float],
) -> tuple[Point, ...]:
    """Every threshold, from none to all.

    Args:
        confidences: of the small model, `[n]`.
        small: scores of its answers, `[n]`, higher is better.
        large: scores of the large model's answers, `[n]`.
        costs: of a row, for the small and the large model.

    Example:
        >>> [p.score for p in sweep([0.9, 0.1], [1, 0], [1, 1], (1, 10))]
        [0.5, 1.0, 1.0]
    """
    c, s, b = (np.asarray(values, np.float64) for values in (confidences, small, large))
    order = np.argsort(c, kind="stable")
    c, gains = c[order], np.concatenate([[0.0], np.cumsum(b[order] - s[order])])
    cuts = [0, *(i for i in range(1, len(c)) if c[i] > c[i - 1]), len(c)]
    ends = [-math.inf, *(float(c[i]) for i in cuts[1:-1]), math.inf]
    return tuple(
        Point(end, cut / len(c), costs[0] + costs[1] * cut / len(c), float((s.sum() + gains[cut]) / len(c)))
        for cut, end in zip(cuts, ends, strict=True)
    )


def best_within(points: Sequence[Point], cost: float) -> Point:
    """The highest score that a cost allows; of equal ones the cheapest.

    Raises:
        InputError: `over-budget`: not even the small model alone is as cheap.
    """
    allowed = [point for point in points if point.cost <= cost + _ROUNDING]
    if not allowed:
        cheapest = min(point.cost for point in points)
        message = (
            f"no threshold costs {cost:g} per row or less; the cheapest, the small model alone, costs {cheapest:g}"
        )
        raise InputError(Fault("over-budget", message, subject="target_cost", hint=f"allow {cheapest:g} or more"))
    return max(allowed, key=lambda point: (point.score, -point.cost))


def cheapest_reaching(points: Sequence[Point], score: float) -> Point:
    """The lowest cost that reaches a score; of equal ones the better.

    Raises:
        InputError: `over-budget`: no threshold reaches it.
    """
    reaching = [point for point in points if point.score >= score - _ROUNDING]
    if not reaching:
        best = max(points, key=lambda point: (point.score, -point.cost))
        message = f"no threshold scores {score:g}; the best is {best.score:.4g}, with {best.share:.1%} of rows routed"
        raise InputError(
            Fault("over-budget", message, subject="target_score", hint=f"ask for {best.score:.4g} or less")
        )
    return min(reaching, key=lambda point: (point.cost, -point.score))


def quantile_threshold(confidences: Sequence[float] | Array, share: float) -> float:
    """The threshold that sends as many rows to the large model as it can without sending more than a share.

    No labels are needed: what is known is how sure the small model is on such rows, as in RouteLLM (Ong et al. 2024,
    arXiv:2406.18665).

    Args:
        confidences: `[n]`.
        share: 0 to 1.

    Example:
        >>> quantile_threshold([0.1, 0.2, 0.3, 0.4], 0.5)
        0.3
    """
    c = np.sort(np.asarray(confidences, np.float64))
    most = math.floor(share * len(c) + 1e-9)
    return math.inf if most >= len(c) else float(c[most])
