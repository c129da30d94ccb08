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
    ones = weighted.new_ones(len(weighted))
    elected = (weighted_sum(weighted, ones) >= 0).to(weighted.dtype) * 2 - 1
    return (weighted.sign() == elected).to(weighted.dtype)


def agreeing_weight(weights: Tensor, agrees: Tensor) -> Tensor:
    """Σ of the weights of the models that agree, per entry, `[n]`; 1 where none does, so that it can divide."""
    total = weighted_sum(agrees, weights)
    return total.masked_fill(total == 0, 1.0)
