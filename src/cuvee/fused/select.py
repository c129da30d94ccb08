"""Passes that look for the exact k-th largest magnitude of every delta; see `cuvee.fused.threshold`."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuvee.fused.compiler import compiled
from cuvee.fused.numbers import MAGNITUDE, SPAN, as_bits, load, load_delta

_GROUP = 16
_BINS = 4096


@compiled
def magnitudes(rows: Any, out: Any) -> Any:
    """The magnitudes of the deltas, as bits, `[K, n]`; the base is the first row."""
    count, n = len(rows) - 1, rows.shape[1]
    base, value = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        worst = max(worst, load(rows[0, at:stop], base))
        for k in range(count):
            worst = max(worst, load_delta(rows[k + 1, at:stop], base, value))
            row = out[k, at:stop]
            for i in range(len(row)):
                row[i] = np.uint32(np.uint32(as_bits(value[i])) & MAGNITUDE)
    return worst


@compiled
def collect(rows: Any, low: Any, width: Any, kept: Any, places: Any, bits: Any, found: Any, above: Any) -> Any:
    """Sort the entries of a tile into those above a bracket, those inside it, and the rest.

    Args:
        rows: the base and the models.
        low: lower end of each model's bracket, as bits, `[K]`.
        width: its upper end less its lower, `[K]`; a magnitude below the bracket less its lower end goes round, to more
            than any width.
        kept: whether what is inside a model's bracket is wanted, `[K]`.
        places: where the entries inside are, in order, is put here, `[K, n]`.
        bits: their magnitudes, `[K, n]`.
        found: how many there are, `[K]`.
        above: how many are above, `[K]`.
    """
    count, n = len(rows) - 1, rows.shape[1]
    base, value, magnitude = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32), np.empty(SPAN, np.uint32)
    worst = np.uint32(0)
    for at in range(0, n, SPAN):
        stop = min(at + SPAN, n)
        worst = max(worst, load(rows[0, at:stop], base))
        for k in range(count):
            worst = max(worst, load_delta(rows[k + 1, at:stop], base, value))
            least, span = low[k], width[k]
            over = np.uint32(0)
            for i in range(stop - at):
                magnitude[i] = np.uint32(np.uint32(as_bits(value[i])) & MAGNITUDE)
                over += np.uint32(magnitude[i] > np.uint32(least + span))
            above[k] += over
            if kept[k]:
                found[k] = _append_inside(magnitude, stop - at, least, span, at, places[k], bits[k], found[k])
    return worst


@compiled
def _append_inside(magnitude: Any, n: Any, least: Any, span: Any, at: Any, places: Any, bits: Any, found: Any) -> Any:
    """Groups with nothing inside are passed over at once; in the others each entry is put down and kept if inside.

    Places are counted without a sign: a sign would be looked at for every entry.
    """
    count = np.uintp(found)
    for first in range(0, n, _GROUP):
        group = magnitude[first : min(first + _GROUP, n)]
        inside = np.uint32(0)
        for i in range(len(group)):
            inside += np.uint32(np.uint32(group[i] - least) <= span)
        if inside:
            for i in range(len(group)):
                places[count] = np.uint32(at + first + i)
                bits[count] = group[i]
                count = np.uintp(count + np.uintp(np.uint32(group[i] - least) <= span))
    return count


@compiled
def largest(bits: Any, rank: Any) -> Any:
    """The `rank`-th largest of some magnitudes, and how many are larger; `rank` is from 1 to their number.

    By histograms, each of the bin of the one before that holds the answer, until a bin is one magnitude.
    """
    counts = np.empty(_BINS, np.int64)
    low, high = np.int64(bits[0]), np.int64(bits[0])
    for i in range(len(bits)):
        low, high = min(low, np.int64(bits[i])), max(high, np.int64(bits[i]))
    larger = np.int64(0)
    while low < high:
        shift = np.int64(0)
        while (high - low) >> shift >= _BINS:
            shift += 1
        counts[:] = 0
        for i in range(len(bits)):
            place = np.uint64(np.int64(bits[i]) - low)  # without a sign, so that what is below `low` is beyond `high`
            if place <= np.uint64(high - low):
                counts[place >> np.uint64(shift)] += 1
        bin_ = (high - low) >> shift
        while larger + counts[bin_] < rank:
            larger += counts[bin_]
            bin_ -= 1
        low = low + (bin_ << shift)
        high = min(high, low + (np.int64(1) << shift) - 1)
    return low, larger
