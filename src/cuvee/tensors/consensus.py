"""Sign election: which deltas agree with the sign that carries the larger total, entry by entry."""

from __future__ import annotations

from torch import Tensor

from cuvee.tensors.affine import weighted_sum


def agreement(weighted: Tensor) -> Tensor:
    """Mark the entries whose sign is the elected one.

    γ = +1 where Σᵢ Dᵢ ≥ 0, else −1; entry i agrees when sign(Dᵢ) = γ. Zeros never agree.

    Args:
        weighted: weighted deltas D, `[K, n]`.

    Returns:
        `[K, n]` of 0 and 1 in the dtype of `weighted`.
    """
    # Signs are multiplied rather than compared: torch compares one entry at a time, and multiplies sixteen.
    ones = weighted.new_ones(len(weighted))
    elected = weighted_sum(weighted, ones).sign().add_(0.5).sign_()
    return weighted.sign().mul_(elected).clamp_(min=0)


def agreeing_weight(weights: Tensor, agrees: Tensor) -> Tensor:
    """Σ of the weights of the models that agree, per entry, `[n]`; 1 where none does, so that it can divide."""
    total = weighted_sum(agrees, weights)
    is_zero = 1 - total.sign().abs_()
    return total + is_zero
