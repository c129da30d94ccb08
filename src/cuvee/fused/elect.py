"""Deltas of which entries are dropped, and of whose signs one is elected: TIES and DARE."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuvee.fused.compiler import compiled
from cuvee.fused.numbers import MAGNITUDE, SPAN, as_bits, as_number, load, load_delta, store
from cuvee.fused.weighted import add_weighted
from cuvee.tensors import BLOCK

_NOTHING = np.uint32(0)
_GAMMA, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_DRAW = np.float32(2.0**-24)


@compiled
def trim_and_elect(
    rows: Any,
    weight: Any,
    threshold: Any,
    edge: Any,
    quota: Any,
    gain: Any,
    scale: Any,
    normalize: Any,
    start: Any,
    out: Any,
) -> Any:
    """TIES: entries of magnitude below the threshold (as bits) go; of equal ones see `cuvee.tensors.Cut`.

    `edge` is the first element of the block in which the quota runs out, from the tensor's first.
    """
    count, n = len(rows) - 1, rows.shape[1]
    base, weighted, total = np.empty(SPAN, np.float32), np.empty((count, SPAN), np.float32), np.empty(SPAN, np.float32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        worst = max(worst, load(rows[0, at:stop], base))
        for k in range(count):
            worst = max(worst, load_delta(rows[k + 1, at:stop], base, weighted[k]))
            equal_go = runs_out(weighted[k], threshold[k], edge[k] - start - at, quota[k])
            trim(weighted[k], threshold[k], 0, equal_go)
            trim(weighted[k], np.uint32(threshold[k] + np.uint32(1)), equal_go, SPAN)
            scale_twice(weighted[k], gain[k], weight[k])
        average_agreeing(weighted, weight, normalize, total)
        worst = max(worst, finish(base, total, scale, out[at:stop]))
    return worst


@compiled
def drop_and_elect(
    rows: Any, weight: Any, density: Any, key: Any, divisor: Any, scale: Any, normalize: Any, start: Any, out: Any
) -> Any:
    """DARE-TIES: each entry stays with the probability `density` of its model, divided by `divisor`."""
    count, n = len(rows) - 1, rows.shape[1]
    base, weighted, total = np.empty(SPAN, np.float32), np.empty((count, SPAN), np.float32), np.empty(SPAN, np.float32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        worst = max(worst, load(rows[0, at:stop], base))
        for k in range(count):
            worst = max(worst, load_delta(rows[k + 1, at:stop], base, weighted[k]))
            drop(weighted[k], key[k], start + at, density[k], divisor[k])
            for i in range(SPAN):
                weighted[k, i] = weighted[k, i] * weight[k]
        average_agreeing(weighted, weight, normalize, total)
        worst = max(worst, finish(base, total, scale, out[at:stop]))
    return worst


@compiled
def drop_and_add(
    rows: Any, weight: Any, density: Any, key: Any, divisor: Any, total_weight: Any, scale: Any, start: Any, out: Any
) -> Any:
    """DARE, then the weighted sum divided by `total_weight`."""
    count, n = len(rows) - 1, rows.shape[1]
    base, value, total = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        worst = max(worst, load(rows[0, at:stop], base))
        for k in range(count):
            worst = max(worst, load_delta(rows[k + 1, at:stop], base, value))
            drop(value, key[k], start + at, density[k], divisor[k])
            add_weighted(value, weight[k], k == 0, total)
        for i in range(SPAN):
            total[i] = total[i] / total_weight
        worst = max(worst, finish(base, total, scale, out[at:stop]))
    return worst


@compiled
def runs_out(values: Any, threshold: Any, edge: Any, quota: Any) -> Any:
    """From which entry of a span on those equal to the threshold go, `edge` being counted from the span's first."""
    place = min(max(edge, 0), SPAN)
    if edge < 0:
        return place
    last = min(edge + BLOCK, SPAN)
    while place < last and quota > 0:
        if np.uint32(np.uint32(as_bits(values[place])) & MAGNITUDE) == threshold:
            quota -= 1
        place += 1
    return place


@compiled
def trim(values: Any, least: Any, first: Any, last: Any) -> Any:
    """Zero the entries from `first` to `last` whose magnitude, as bits, is below `least`."""
    for i in range(first, last):
        bits = np.uint32(as_bits(values[i]))
        values[i] = as_number(bits if np.uint32(bits & MAGNITUDE) >= least else _NOTHING)


@compiled
def scale_twice(values: Any, gain: Any, weight: Any) -> Any:
    """X · gain · weight, each product rounded."""
    for i in range(SPAN):
        values[i] = values[i] * gain * weight


@compiled
def drop(values: Any, key: Any, start: Any, density: Any, divisor: Any) -> Any:
    """Keep the entries whose draw is below the density, and divide them; see `cuvee.tensors.random.uniform`.

    Spans start at even entries, so that both draws of a word are used at once.
    """
    for j in range(SPAN // 2):
        z = np.uint64(np.uint64(start // 2 + j + 1) * _GAMMA + key)
        z = np.uint64((z ^ (z >> np.uint64(30))) * _MIX_1)
        z = np.uint64((z ^ (z >> np.uint64(27))) * _MIX_2)
        z = np.uint64(z ^ (z >> np.uint64(31)))
        low = np.float32(np.int32((z >> np.uint64(8)) & np.uint64(0xFFFFFF))) * _DRAW
        high = np.float32(np.int32(z >> np.uint64(40))) * _DRAW
        values[2 * j] = _kept(values[2 * j], low, density) / divisor
        values[2 * j + 1] = _kept(values[2 * j + 1], high, density) / divisor


@compiled
def _kept(value: Any, draw: Any, density: Any) -> Any:
    return value if draw < density else np.float32(0)


@compiled
def average_agreeing(weighted: Any, weight: Any, normalize: Any, total: Any) -> Any:
    """Elect a sign per entry and add up the weighted deltas that agree; divided by their weights if asked."""
    count = len(weighted)
    elected, divisor = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    for i in range(SPAN):
        total[i] = weighted[0, i]
    for k in range(1, count):
        for i in range(SPAN):
            total[i] = total[i] + weighted[k, i]
    for i in range(SPAN):
        elected[i] = np.float32(1) if total[i] >= np.float32(0) else np.float32(-1)
    for k in range(count):
        for i in range(SPAN):
            agrees = np.float32(1) if weighted[k, i] * elected[i] > np.float32(0) else np.float32(0)
            added, share = weighted[k, i] * agrees, agrees * weight[k]
            total[i] = added if k == 0 else total[i] + added
            divisor[i] = share if k == 0 else divisor[i] + share
    if normalize:
        for i in range(SPAN):
            total[i] = total[i] / (divisor[i] if divisor[i] != np.float32(0) else np.float32(1))


@compiled
def finish(base: Any, total: Any, scale: Any, row: Any) -> Any:
    """Write b + scale · total."""
    for i in range(SPAN):
        total[i] = base[i] + total[i] * scale
    return store(total, row)
