"""Deltas of which entries are dropped, and of whose signs one is elected: TIES and DARE."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuvee.fused.compiler import compiled
from cuvee.fused.numbers import MAGNITUDE, SPAN, as_bits, as_number, bits_at, load, load_delta, store
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
            row, least, here = rows[k + 1, at:stop], threshold[k], edge[k] - start - at
            go = SPAN if here >= SPAN else 0
            if 0 <= here < SPAN:
                load_delta(row, base, weighted[k])
                go = runs_out(weighted[k], least, here, quota[k])
            go = min(go, stop - at)
            added, first = weighted[k], k == 0
            top = trim(row[:go], base, least, gain[k], weight[k], first, added, total)
            more = np.uint32(least + np.uint32(1))
            rest = trim(row[go:], base[go:], more, gain[k], weight[k], first, added[go:], total[go:])
            worst = max(worst, max(top, rest))
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
            scaled(weighted[k], weight[k], k == 0, total)
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
    place, last = edge, min(edge + BLOCK, SPAN)
    while place < last and quota > 0:
        if np.uint32(np.uint32(as_bits(values[place])) & MAGNITUDE) == threshold:
            quota -= 1
        place += 1
    return place


@compiled
def trim(row: Any, base: Any, least: Any, gain: Any, weight: Any, first: Any, weighted: Any, total: Any) -> Any:
    """Weighted deltas of one model, without those of magnitude below `least`, and their sum with those before."""
    worst = np.uint32(0)
    for i in range(len(row)):
        bits = np.uint32(bits_at(row, i))
        worst = max(worst, np.uint32(bits & MAGNITUDE))
        delta = np.uint32(as_bits(as_number(bits) - base[i]))
        weighted[i] = as_number(delta if np.uint32(delta & MAGNITUDE) >= least else _NOTHING) * gain * weight
    if first:
        for i in range(len(row)):
            total[i] = weighted[i]
    else:
        for i in range(len(row)):
            total[i] = total[i] + weighted[i]
    return worst


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
def scaled(values: Any, weight: Any, first: Any, total: Any) -> Any:
    """Multiply with a weight, and add to the sum of those before."""
    for i in range(SPAN):
        values[i] = values[i] * weight
    if first:
        for i in range(SPAN):
            total[i] = values[i]
    else:
        for i in range(SPAN):
            total[i] = total[i] + values[i]


@compiled
def _kept(value: Any, draw: Any, density: Any) -> Any:
    return value if draw < density else np.float32(0)


@compiled
def average_agreeing(weighted: Any, weight: Any, normalize: Any, total: Any) -> Any:
    """Elect a sign per entry and add up the weighted deltas that agree; divided by their weights if asked.

    `total` is their sum before, and what comes out.
    """
    elected, divisor = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    for i in range(SPAN):
        elected[i] = np.float32(1) if total[i] >= np.float32(0) else np.float32(-1)
    for k in range(len(weighted)):
        values, share = weighted[k], weight[k]
        if k == 0:
            for i in range(SPAN):
                agrees = np.float32(1) if values[i] * elected[i] > np.float32(0) else np.float32(0)
                total[i] = values[i] * agrees
                divisor[i] = agrees * share
        else:
            for i in range(SPAN):
                agrees = np.float32(1) if values[i] * elected[i] > np.float32(0) else np.float32(0)
                total[i] = total[i] + values[i] * agrees
                divisor[i] = divisor[i] + agrees * share
    if normalize:
        for i in range(SPAN):
            total[i] = total[i] / (divisor[i] if divisor[i] != np.float32(0) else np.float32(1))


@compiled
def finish(base: Any, total: Any, scale: Any, row: Any) -> Any:
    """Write b + scale · total."""
    for i in range(SPAN):
        total[i] = base[i] + total[i] * scale
    return store(total, row)
