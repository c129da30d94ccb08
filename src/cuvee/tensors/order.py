"""The models of a stack in order, entry by entry; made with integers, whose bits order as the numbers do."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cuvee.tensors.affine import weighted_sum
from cuvee.tensors.sparsify import magnitude_bits

_SLICE = 1 << 16


def sorted_models(stack: Tensor) -> Tensor:
    """Every entry's values in ascending order, `[K, n]`; −0 comes before 0.

    By a network of minima and maxima over whole rows: torch sorts one entry at a time.

    Args:
        stack: `[K, n]`.

    Example:
        >>> sorted_models(torch.tensor([[3.0, -1.0], [1.0, 2.0], [2.0, -5.0]])).tolist()
        [[1.0, -5.0], [2.0, -1.0], [3.0, 2.0]]
    """
    return torch.cat([_sorted(stack[:, at : at + _SLICE]) for at in range(0, stack.shape[1], _SLICE)], dim=1)


def _sorted(stack: Tensor) -> Tensor:
    """The same of a slice that stays in the cache."""
    rows = list(_turned(stack.contiguous().view(_int_of(stack))))
    for i, j in _comparators(len(rows)):
        rows[i], rows[j] = torch.minimum(rows[i], rows[j]), torch.maximum(rows[i], rows[j])
    return _turned(torch.stack(rows)).view(stack.dtype)


def largest_magnitude(stack: Tensor) -> Tensor:
    """Per entry the value of largest magnitude, `[n]`; of equal ones the first model's.

    Args:
        stack: `[K, n]`.
    """
    magnitudes, bits = magnitude_bits(stack), stack.contiguous().view(_int_of(stack))
    largest, chosen = magnitudes[0], bits[0]
    for magnitude, row in zip(magnitudes[1:], bits[1:], strict=True):
        is_larger = _ones_where_negative(largest - magnitude)
        chosen = (chosen & ~is_larger) | (row & is_larger)
        largest = torch.maximum(largest, magnitude)
    return chosen.view(stack.dtype)


def users_of(deltas: Tensor, total: Tensor, factor: Tensor) -> Tensor:
    """Per entry the number of models with |δᵢ| > factorᵢ · |total − δᵢ|, `[n]`, as integers of the size of an entry.

    Args:
        deltas: `[K, n]`.
        total: `[n]`.
        factor: `[K]`.
    """
    rest = magnitude_bits(torch.stack([(total - delta) * f for delta, f in zip(deltas, factor, strict=True)]))
    margins = _ones_where_negative(rest - magnitude_bits(deltas))
    return weighted_sum(margins, [-1] * len(margins))


def _int_of(stack: Tensor) -> torch.dtype:
    return torch.int64 if stack.dtype == torch.float64 else torch.int32


def _ones_where_negative(values: Tensor) -> Tensor:
    """All bits set, which is −1, where an integer is negative, else none."""
    return values >> (values.dtype.itemsize * 8 - 1)


def _turned(bits: Tensor) -> Tensor:
    """Bits of floats as integers that order alike, and back: all but the sign are turned round where that is −."""
    return bits ^ (_ones_where_negative(bits) & torch.iinfo(bits.dtype).max)


def _comparators(count: int) -> Iterator[tuple[int, int]]:
    """Pairs of rows to compare, one after the other, so that all come out sorted.

    Reference:
        Batcher 1968, Sorting networks and their applications: odd-even merge sort.
    """
    size = 1
    while size < count:
        apart = size
        while apart:
            for first in range(apart % size, count - apart, 2 * apart):
                for i in range(first, min(first + apart, count - apart)):
                    if i // (2 * size) == (i + apart) // (2 * size):
                        yield i, i + apart
            apart //= 2
        size *= 2
