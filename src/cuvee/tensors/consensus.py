"""Sign election: which deltas agree with the sign that carries the larger total, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cuvee.tensors.affine import weighted_sum

_SLICE = 1 << 16


def agreement(weighted: Tensor, votes: Tensor | None = None) -> Tensor:
    """Mark the entries whose sign is the elected one.

    γ = +1 where Σᵢ vᵢ ≥ 0, else −1; entry i agrees when sign(Dᵢ) = γ. Zeros never agree.

    Args:
        weighted: weighted deltas D, `[K, n]`.
        votes: v, `[K, n]`; the weighted deltas themselves where nothing else is given.

    Returns:
        `[K, n]` of 0 and 1 in the dtype of `weighted`.
    """
    # Signs are multiplied rather than compared: torch compares one entry at a time, and multiplies sixteen.
    ones = weighted.new_ones(len(weighted))
    elected = weighted_sum(weighted if votes is None else votes, ones).sign().add_(0.5).sign_()
    return weighted.sign().mul_(elected).clamp_(min=0)


def agreeing_weight(weights: Tensor | Sequence[float], agrees: Tensor) -> Tensor:
    """Σ of the weights of the models that agree, per entry, `[n]`; 1 where none does, so that it can divide."""
    total = weighted_sum(agrees, weights)
    is_zero = 1 - total.sign().abs_()
    return total + is_zero


def spread(stack: Tensor) -> Tensor:
    """K times the standard deviation of the models, entry by entry, `[1, n]`, rounded to the dtype of the stack.

    K² σ² = K Σ (xᵢ − x₁)² − (Σ (xᵢ − x₁))², in float64: exactly 0 where all models are equal, with no more cancellation
    than K can cause, and exact where the models are on a coarse grid, so that equal variances come out equal. The root
    has the size of the entries, which their square may not have in float32.

    Args:
        stack: `[K, n]`.
    """
    pieces = [_spread(stack[:, at : at + _SLICE]) for at in range(0, stack.shape[1], _SLICE)]
    return torch.cat(pieces).unsqueeze(0)


def _spread(stack: Tensor) -> Tensor:
    """The same of a slice that stays in the cache, `[n]`."""
    apart = stack.double() - stack[0].double()
    ones = [1.0] * len(stack)
    total = weighted_sum(apart, ones)
    varied = weighted_sum(apart * apart, ones) * len(stack) - total * total
    return varied.clamp_(min=0).sqrt_().to(stack.dtype)
