"""Which entries of a delta stay: the largest by magnitude, or a random draw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cuvee.tensors.affine import per_model
from cuvee.tensors.blocks import BLOCK, Blocks, Counts

_LARGE = 1 << 18
_INT_OF = {torch.float32: torch.int32, torch.float64: torch.int64}


@dataclass(frozen=True)
class Cut:
    """Where to cut each delta so that exactly its k largest entries by magnitude stay.

    Attributes:
        threshold: k-th largest magnitude, `[K]`, work dtype.
        edges: for each delta the block in which the entries equal to the threshold run out, and how many of those in
            that block stay, first come first kept: in blocks before it all of them stay, behind it none. `None` when
            all of them stay everywhere.
    """

    threshold: Tensor
    edges: tuple[tuple[int, int], ...] | None = None


def keep_largest(deltas: Tensor, cut: Cut, start: int) -> Tensor:
    """Zero every entry below the cut.

    Args:
        deltas: `[K, n]`, a tile.
        cut: the cut of the whole tensor.
        start: index in the tensor of the tile's first element, a multiple of `BLOCK`.

    Returns:
        `[K, n]`.
    """
    return keep_where(deltas, cut_margin(deltas, cut, start))


def cut_margin(values: Tensor, cut: Cut, start: int) -> Tensor:
    """Integers that are negative where an entry is below the cut, `[R, n]`; arguments as those of `keep_largest`."""
    # As bits, NaN is larger than any number, and is not trimmed away.
    margin = magnitude_bits(values) - magnitude_bits(per_model(cut.threshold, values))
    for row, (block, quota) in zip(margin, cut.edges or (), strict=cut.edges is not None):
        begin = min(max(block * BLOCK - start, 0), len(row))
        edge, behind = row[begin : begin + BLOCK], row[begin + BLOCK :]
        if block * BLOCK < start:
            edge, behind = row[:0], row
        equal = edge == 0
        edge -= (equal & (equal.cumsum(0) > quota)).to(row.dtype)
        behind -= 1
    return margin


def keep_between(deltas: Tensor, cut: Cut, start: int) -> Tensor:
    """Zero every entry below the first K cuts, and every entry that is not below the other K.

    Args:
        deltas: `[K, n]`, a tile.
        cut: of 2K rows, the deltas twice.
        start: index in the tensor of the tile's first element, a multiple of `BLOCK`.

    Returns:
        `[K, n]`.
    """
    low, high = cut_margin(deltas.repeat(2, 1), cut, start).chunk(2)
    return keep_where(deltas, low | ~high)  # the sign of the first where that is −, of the second turned round


def keep_above(deltas: Tensor, limit: float) -> Tensor:
    """Zero every entry whose magnitude is not above a limit, rounded to the dtype of the deltas."""
    return keep_where(deltas, magnitude_bits(deltas) - magnitude_bits(deltas.new_tensor(limit)) - 1)


def equal_counts(deltas: Tensor, magnitudes: Tensor, start: int) -> Blocks:
    """How many entries of each block have a delta's threshold as magnitude.

    Args:
        deltas: `[K, n]`, a tile.
        magnitudes: the bits of the thresholds, `[K]`.
        start: index in the tensor of the tile's first element, a multiple of `BLOCK`.
    """
    blocks = math.ceil(deltas.shape[1] / BLOCK)
    found = [
        torch.bincount(places_of(row, int(bits)) // BLOCK, minlength=blocks)
        for row, bits in zip(map(magnitude_bits, deltas), magnitudes, strict=True)
    ]
    return Blocks.at(start, torch.stack(found))


def edges_of(counts: Tensor, quota: Tensor) -> tuple[tuple[int, int], ...]:
    """For each delta the block in which its quota of entries runs out, and how many of that block's stay.

    Args:
        counts: entries equal to the threshold in every block, `[K, blocks]`.
        quota: how many of them stay, `[K]`, at least 1 and at most all.
    """
    running = counts.cumsum(1)
    blocks = (running < quota.unsqueeze(1)).sum(1)
    before = (running - counts).gather(1, blocks.unsqueeze(1)).squeeze(1)
    return tuple(zip(blocks.tolist(), (quota - before).tolist(), strict=True))


def places_of(values: Tensor, value: int) -> Tensor:
    """Indices of the entries equal to a value, ascending; by numpy on the CPU, which compares ten times as fast."""
    if values.device.type != "cpu":
        return (values == value).nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(values.numpy() == value))


def keep_where(values: Tensor, margin: Tensor) -> Tensor:
    """Zero every entry whose integer margin is negative; one row of margins may serve all rows of values.

    Written with the bits of the sign: the masked fills of torch take one entry at a time, this takes sixteen.
    """
    dropped = margin >> (margin.dtype.itemsize * 8 - 1)  # all bits set where the margin is negative
    return (values.contiguous().view(margin.dtype) & ~dropped).view(values.dtype)


def keep_drawn(deltas: Tensor, draws: Tensor, density: Tensor) -> Tensor:
    """Keep each entry with probability `density` of its model: those whose uniform draw in [0, 1) is below it."""
    return keep_below(deltas, draws, per_model(density, deltas))


def keep_probabilities(deltas: Tensor, density: Tensor, epsilon: Tensor) -> Tensor:
    """MAGPRUNE: the probability that each entry stays, rising evenly with the rank of its magnitude in its row.

    p = density − ε + 2ε (r − 1) / (m − 1) for the entry of rank r of m in its row, the smallest first; equal magnitudes
    rank by position. An entry that is alone in its row has the density itself.

    Args:
        deltas: `[K, rows, m]`.
        density: mean probability of every model, `[K]`.
        epsilon: half the width of the window, `[K]`.

    Returns:
        `[K, rows, m]`.

    Reference:
        Deep et al. 2024, DELLA-Merging, section 3.1 (its p is the probability that an entry goes).
    """
    width = deltas.shape[-1]
    if width == 1:
        return per_model(density, deltas).expand_as(deltas)
    order = deltas.abs().argsort(dim=-1, stable=True)
    steps = torch.arange(width, dtype=deltas.dtype, device=deltas.device) / (width - 1)
    ranks = torch.empty_like(deltas).scatter_(-1, order, steps.expand_as(deltas))
    low = per_model(density - epsilon, deltas)
    return low + ranks * per_model(2 * epsilon, deltas)


def keep_below(values: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
    """Keep each entry with a probability of its own: those whose uniform draw in [0, 1) is below it."""
    margin = draws.to(values.dtype) - probability  # negative where the entry stays
    return keep_where(values, ~margin.view(_INT_OF[values.dtype]))


def magnitude_bits(deltas: Tensor) -> Tensor:
    """The bits of |d| as integers, which order as the magnitudes do, `[K, n]`."""
    bits = deltas.contiguous().view(_INT_OF[deltas.dtype])
    return bits & torch.iinfo(bits.dtype).max


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
    rows = []
    for i, delta in enumerate(deltas):
        row = magnitude_bits(delta)
        chosen = row if prefix is None else row[places_of(row >> (low + width), int(prefix[i]))]
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
