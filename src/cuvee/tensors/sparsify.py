"""Which entries of a delta stay: the largest by magnitude, or a random draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cuvee.tensors.affine import per_model
from cuvee.tensors.blocks import BLOCK, Counts

_LARGE = 1 << 18
_INT_OF = {torch.float32: torch.int32, torch.float64: torch.int64}


@dataclass(frozen=True)
class Cut:
    """Where to cut each delta so that exactly its k largest entries by magnitude stay.

    Attributes:
        threshold: k-th largest magnitude, `[K]`, work dtype.
        quota: how many of the entries equal to the threshold stay, `[K]`, int64, first come first kept.
        equal_before: entries equal to the threshold before each block, `[K, blocks]`, int64; `None` when all of them
            stay, so that nobody needs to count.
    """

    threshold: Tensor
    quota: Tensor
    equal_before: Tensor | None = None


def keep_largest(deltas: Tensor, cut: Cut, start: int) -> Tensor:
    """Zero every entry below the cut.

    Args:
        deltas: `[K, n]`, a tile.
        cut: the cut of the whole tensor.
        start: index in the tensor of the tile's first element, a multiple of `BLOCK`.

    Returns:
        `[K, n]`.
    """
    magnitude = magnitude_bits(deltas)  # as bits, NaN is larger than any number, and is not trimmed away
    threshold = magnitude_bits(per_model(cut.threshold, deltas))
    if cut.equal_before is None:
        return deltas.masked_fill(magnitude < threshold, 0)
    equal = magnitude == threshold
    rank = equal.cumsum(dim=1) + cut.equal_before[:, start // BLOCK].unsqueeze(1)
    kept = (magnitude > threshold) | (equal & (rank <= cut.quota.unsqueeze(1)))
    return deltas.masked_fill(~kept, 0)


def keep_drawn(deltas: Tensor, draws: Tensor, density: Tensor) -> Tensor:
    """Keep each entry with probability `density` of its model: those whose uniform draw in [0, 1) is below it."""
    return deltas.masked_fill(draws >= per_model(density, deltas), 0)


def magnitude_bits(deltas: Tensor) -> Tensor:
    """The bits of |d| as integers, which order as the magnitudes do, `[K, n]`."""
    return deltas.abs().contiguous().view(_INT_OF[deltas.dtype])


def digit_width(numel: int) -> int:
    """Bits per digit of the search for a threshold: wide where a pass over the tensor costs more than a histogram."""
    return 16 if numel >= _LARGE else 8


def digits_in(dtype: torch.dtype, width: int) -> int:
    """How many digits of `width` bits a magnitude of that dtype has."""
    return dtype.itemsize * 8 // width


def digit_counts(deltas: Tensor, prefix: Tensor | None, digit: int, width: int) -> Counts:
    """Histogram of one digit among the entries whose higher digits equal `prefix`, `[K, 2^width]`.

    Args:
        deltas: `[K, n]`, a tile.
        prefix: the higher digits found so far, `[K]`, int64; `None` for the first digit.
        digit: 0 for the highest digit.
        width: bits per digit.
    """
    low = width * (digits_in(deltas.dtype, width) - 1 - digit)
    bits = magnitude_bits(deltas).long()
    rows = []
    for i in range(len(bits)):
        chosen = bits[i] if prefix is None else bits[i][bits[i] >> (low + width) == prefix[i]]
        rows.append(torch.bincount((chosen >> low) & ((1 << width) - 1), minlength=1 << width))
    return Counts(torch.stack(rows))


def next_digit(counts: Counts, prefix: Tensor | None, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the digit that holds the `wanted`-th largest entry.

    Returns:
        The longer prefix, how many entries are still wanted among those that share it, and how many share it; each
        `[K]`, int64.
    """
    width = counts.values.shape[1].bit_length() - 1
    above = counts.values.flip(1).cumsum(1).flip(1)  # entries with this digit or a larger one
    at = (above >= wanted.unsqueeze(1)).sum(1) - 1
    here = counts.values.gather(1, at.unsqueeze(1)).squeeze(1)
    left = wanted - (above.gather(1, at.unsqueeze(1)).squeeze(1) - here)
    return (at if prefix is None else (prefix << width) | at), left, here


def magnitude_from_bits(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """The magnitudes whose bits these are, `[K]`."""
    return bits.to(_INT_OF[dtype]).view(dtype)
