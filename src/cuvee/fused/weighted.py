"""Weighted sums of models and of deltas: linear, slerp, task arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuvee.fused.compiler import compiled
from cuvee.fused.numbers import SPAN, load, load_delta, store


@compiled
def sum_models(rows: Any, weight: Any, divisor: Any, out: Any) -> Any:
    """Σ wᵢ xᵢ / divisor."""
    count, n = rows.shape
    value, total = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        for k in range(count):
            worst = max(worst, load(rows[k, at:stop], value))
            add_weighted(value, weight[k], k == 0, total)
        for i in range(SPAN):
            total[i] = total[i] / divisor
        worst = max(worst, store(total, out[at:stop]))
    return worst


@compiled
def sum_deltas(rows: Any, weight: Any, divisor: Any, scale: Any, out: Any) -> Any:
    """Base + scale · Σ wᵢ δᵢ / divisor; the base is the first row."""
    count, n = rows.shape
    base, value, total = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        worst = max(worst, load(rows[0, at:stop], base))
        for k in range(count - 1):
            worst = max(worst, load_delta(rows[k + 1, at:stop], base, value))
            add_weighted(value, weight[k], k == 0, total)
        for i in range(SPAN):
            total[i] = base[i] + total[i] / divisor * scale
        worst = max(worst, store(total, out[at:stop]))
    return worst


@compiled
def add_weighted(values: Any, weight: Any, first: Any, total: Any) -> Any:
    """Add w·x; the first takes the place of what is there."""
    if first:
        for i in range(SPAN):
            total[i] = values[i] * weight
    else:
        for i in range(SPAN):
            total[i] = total[i] + values[i] * weight
