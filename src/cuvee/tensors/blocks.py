"""Statistics that add up exactly: the same bytes for any tile size, any order, any number of workers.

Sums of floats depend on the order of summation. Here a tensor is cut into fixed blocks of `BLOCK` elements, counted
from its first; each block is summed in float64 by one fixed tree of additions, and the block sums are added at the end
by `math.fsum`, which is correctly rounded and so does not depend on order either. Tiles must start at a multiple of
`BLOCK`; the engine sees to that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK: Final = 1024
"""Elements per block; a power of two."""


def block_sums(values: Tensor) -> Tensor:
    """Sum each run of `BLOCK` elements along the last dimension, in float64, by a fixed tree.

    Args:
        values: `[..., n]`.

    Returns:
        `[..., ceil(n / BLOCK)]`, float64; the last block is filled up with zeros.
    """
    n = values.shape[-1]
    blocks = math.ceil(n / BLOCK)
    missing = blocks * BLOCK - n
    padded = pad(values.double(), (0, missing)) if missing else values.double()
    sums = padded.reshape(*values.shape[:-1], blocks, BLOCK)
    width = BLOCK
    while width > 1:
        width //= 2
        sums = sums[..., :width] + sums[..., width:]
    return sums.squeeze(-1)


@dataclass(frozen=True)
class Blocks:
    """Block sums of consecutive tiles: `parts` maps the first block's number to sums `[..., blocks]`."""

    parts: dict[int, Tensor]

    @staticmethod
    def of(values: Tensor, start: int) -> Blocks:
        """Block sums of a tile that starts at element `start` of the tensor."""
        return Blocks.at(start, block_sums(values))

    @staticmethod
    def at(start: int, sums: Tensor) -> Blocks:
        """Sums that were taken block by block, `[..., blocks]`, the first from element `start` of the tensor."""
        if start % BLOCK:
            raise ValueError(f"a tile must start at a multiple of {BLOCK} elements; this one starts at {start}")
        return Blocks({start // BLOCK: sums})

    def __add__(self, other: Blocks) -> Blocks:
        """Statistics of both tiles together; the tiles must not overlap."""
        return Blocks(self.parts | other.parts)

    def joined(self) -> Tensor:
        """All block sums in order, `[..., blocks]`."""
        return torch.cat([self.parts[k] for k in sorted(self.parts)], dim=-1)

    def total(self) -> list[float]:
        """The correctly rounded sum over all blocks, one per leading row."""
        rows = self.joined()
        return [_exact_sum(row.tolist()) for row in (rows.flatten(0, -2) if rows.dim() > 1 else rows.unsqueeze(0))]


def _exact_sum(values: list[float]) -> float:
    """The correctly rounded sum; what floats make of it where infinities or an overflow are among them."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


@dataclass(frozen=True)
class Counts:
    """Integer counts, which add up as they are."""

    values: Tensor

    def __add__(self, other: Counts) -> Counts:
        """Counts of both tiles together."""
        return Counts(self.values + other.values)


@dataclass(frozen=True)
class Extremes:
    """The least and the largest value of every row, `[K]`."""

    low: Tensor
    high: Tensor

    @staticmethod
    def of(values: Tensor) -> Extremes:
        """Those of a tile, `[K, n]`."""
        low, high = values.aminmax(dim=-1)
        return Extremes(low, high)

    def __add__(self, other: Extremes) -> Extremes:
        """Those of both tiles together."""
        return Extremes(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))
