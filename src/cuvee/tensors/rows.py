"""Sums along rows, and what they are good for: the same bytes however many rows a tile has.

The exponential is numpy's, which makes the same of a number wherever it stands in an array; torch's may make another
of it at the end of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor

_SLAB: Final = 1 << 16


def row_sums(values: Tensor) -> Tensor:
    """Sums along the last dimension by a fixed tree of additions: the second half of the row onto the first.

    Args:
        values: `[..., n]`.

    Returns:
        `[...]`; zeros for rows of nothing.
    """
    while (width := values.shape[-1]) > 1:
        half = (width + 1) // 2
        folded = values[..., :half].clone()
        folded[..., : width - half] += values[..., half:]
        values = folded
    return values.sum(-1) if width == 0 else values.squeeze(-1)


def row_products(stack: Tensor) -> Tensor:
    """Inner products xᵢ·xⱼ, i ≤ j, of every row of the models with its counterparts, `[K(K+1)/2, rows]` in float64.

    Args:
        stack: `[K, rows, width]`.
    """
    count = len(stack)
    return torch.stack([row_sums(stack[i].double() * stack[j]) for i in range(count) for j in range(i, count)])


def divergences(p: Tensor, q: Tensor) -> Tensor:
    """Kullback–Leibler divergence of the softmax of every row of p from that of q, `[rows]` in float64.

    KL = Σ P (p − q) − log Σ exp p + log Σ exp q  with  P = exp p / Σ exp p; never below 0.

    Args:
        p: `[rows, width]`, width ≥ 1.
        q: of the same shape.
    """
    slabs = _slabs(p.shape)
    return torch.cat([_divergences(p[at], q[at]) for at in slabs]) if p.numel() else p.new_zeros(len(p)).double()


def _slabs(shape: torch.Size) -> Iterator[slice]:
    """Rows that together stay in the cache."""
    step = max(1, _SLAB // shape[1])
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _divergences(p: Tensor, q: Tensor) -> Tensor:
    p, q = p.double(), q.double()
    (shares, of_p), (_, of_q) = _exponentials(p), _exponentials(q)
    mean = row_sums(shares * (p - q)) / row_sums(shares)
    return (mean - of_p + of_q).clamp(min=0)


def _exponentials(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every entry less the largest of its row, exponentiated, and the logarithm of the row's sum of exponentials."""
    largest = rows.amax(-1, keepdim=True)
    made = torch.from_numpy(np.exp((rows - largest).numpy()))
    logs = [math.log(total) if total > 0 else math.nan for total in row_sums(made).tolist()]
    return made, largest.squeeze(-1) + torch.tensor(logs, dtype=torch.float64)
