"""Tiles as rows of bits: how a kernel takes numbers out of them and puts numbers back.

A row of 16-bit patterns holds bfloat16, one of 32-bit patterns float32; everything between is float32. Work goes span
by span, so that what is in hand stays in the processor's nearest cache.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from cuvee.fused.compiler import bits_as_number, compiled, number_as_bits, reading_by_width, writing_by_width

SPAN: Final = 2048
"""Entries in hand at a time."""
MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
INFINITE: Final = np.uint32(0x7F800000)
"""Bits of infinity; those of a NaN are larger, those of any number smaller."""
_HALF: Final = np.uint32(16)
_ODD: Final = np.uint32(1)
_BELOW_HALF: Final = np.uint32(0x7FFF)

as_number = bits_as_number()
as_bits = number_as_bits()


def _narrow_bits(row: Any, i: Any) -> Any:
    return np.uint32(row[i]) << _HALF


def _wide_bits(row: Any, i: Any) -> Any:
    return row[i]


bits_at = reading_by_width(_narrow_bits, _wide_bits)
"""`(row, i) -> uint32`: the bits of an entry as those of a float32."""


def _put_narrow(row: Any, i: Any, bits: Any) -> Any:
    """Round to nearest, ties to even."""
    rounded = np.uint32(bits + _BELOW_HALF + ((bits >> _HALF) & _ODD)) >> _HALF
    row[i] = np.uint16(rounded)
    return np.uint32(np.uint32(rounded) << _HALF)


def _put_wide(row: Any, i: Any, bits: Any) -> Any:
    row[i] = np.uint32(bits)
    return bits


put = writing_by_width(_put_narrow, _put_wide)
"""`(row, i, uint32) -> uint32`: write the bits of a float32, rounded to what the row holds; gives those written."""


@compiled
def load(row: Any, into: Any) -> Any:
    """Take the entries of a row as numbers; gives the largest magnitude among them, as bits."""
    worst = np.uint32(0)
    for i in range(len(row)):
        bits = np.uint32(bits_at(row, i))
        worst = max(worst, np.uint32(bits & MAGNITUDE))
        into[i] = as_number(bits)
    return worst


@compiled
def load_delta(row: Any, base: Any, into: Any) -> Any:
    """The same, less the numbers of the base, which are given."""
    worst = np.uint32(0)
    for i in range(len(row)):
        bits = np.uint32(bits_at(row, i))
        worst = max(worst, np.uint32(bits & MAGNITUDE))
        into[i] = as_number(bits) - base[i]
    return worst


@compiled
def store(values: Any, row: Any) -> Any:
    """Round numbers into the entries of a row; gives the largest magnitude before or after, as bits."""
    worst = np.uint32(0)
    for i in range(len(row)):
        bits = np.uint32(as_bits(values[i]))
        worst = max(worst, np.uint32(bits & MAGNITUDE))
        worst = max(worst, np.uint32(put(row, i, bits) & MAGNITUDE))
    return worst
