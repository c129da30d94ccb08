"""PEFT's own arithmetic on A and on B, each by itself; what it gives is not the merged change.

(Σ √wᵢ Bᵢ)(Σ √wᵢ Aᵢ) has the products Bᵢ Aⱼ of different adapters in it, which no model was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cuvee.tensors.random import uniform


def split_weight(weight: float) -> tuple[float, float]:
    """What A and what B are multiplied by: the roots of |w|, and its sign on the side of A."""
    root = math.sqrt(abs(weight))
    return (root if weight >= 0 else -root), root


def add_up(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ wᵢ xᵢ."""
    return sum((x * w for x, w in zip(tensors, weights, strict=True)), torch.zeros_like(tensors[0]))


def add_up_by_sign(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The mean of wᵢ xᵢ over the i whose sign is that of Σ xᵢ, which votes without weights; 0 counts as positive."""
    elected = torch.where(sum(tensors, torch.zeros_like(tensors[0])) >= 0, 1, -1)
    agree = [(x.sign() == elected).to(x.dtype) for x in tensors]
    total = add_up([x * a for x, a in zip(tensors, agree, strict=True)], weights)
    return total / sum(agree, torch.zeros_like(total)).clamp(min=1.0)


def keep_largest_share(x: Tensor, density: float) -> Tensor:
    """The ⌊density·n⌋ entries of largest magnitude."""
    flat = x.reshape(-1)
    kept = torch.zeros_like(flat)
    chosen = flat.abs().argsort(descending=True, stable=True)[: int(density * len(flat))]
    kept[chosen] = flat[chosen]
    return kept.reshape(x.shape)


def keep_drawn_share(x: Tensor, density: float, key: int) -> Tensor:
    """Each entry with a probability of `density`, divided by it."""
    if density >= 1:
        return x
    drawn = uniform(key, 0, x.numel()).reshape(x.shape) < density
    return x * drawn / density
