"""WUDI: the task vector whose difference to every task's own is orthogonal to that task's rows, as nearly as can be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import LAMBDA, SHARE
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

OWN_LAWS = ("permutation", "zero-weight", "lambda-zero", "tiles", "scale-equivariance", "seed")


def own_factors(rows: int, width: int, read: int) -> int:
    """All deltas and their products in float64, and the sum of Gram matrices with its factors."""
    return 8 * (rows * width * (read + 3) + min(rows, width) ** 2 + 4 * width * width)


def own_operations(rows: int, width: int, read: int) -> int:
    """Products of the shorter side for each delta, and solving by rows where they are fewer: so it was measured."""
    joined = rows * (read - 1)
    solving = 3 * joined**2 * width if joined <= width else (rows + width) * width**2
    return 3 * (read - 1) * rows * width * min(rows, width) + solving


@merge_method(
    space="delta",
    scope="matrix",
    base="required",
    models=(0, None),
    family="quadratic",
    cost="K products and one solution of n × n for an m × n weight: O(K m n (m + n) + n³).",
    formula="τ = (Σ wᵢ τᵢ Gᵢ) (Σ wᵢ Gᵢ)⁺,   Gᵢ = τᵢᵀ τᵢ / ‖τᵢ‖²;   vectors: the mean of the deltas\ny = b + λ τ",
    params=(SHARE, LAMBDA),
    divides_by="weight",
    factors=own_factors,
    operations=own_operations,
    laws=(*OWN_LAWS, "finite"),
    cite=(Cite("Cheng et al. 2025, Whoever started the interference should end it (WUDI)", arxiv="2503.08099"),),
    differs=(
        "The paper descends to the minimum by 300 steps of Adam; here it is solved for, with the pseudo-inverse where "
        "the deltas leave directions open.",
    ),
)
def wudi(deltas: Tensor, weight: Tensor, lambda_: float) -> Tensor:
    """Find the delta that interferes least with every task's own, each measured on its own rows (eq. 13 of the paper).

    Args:
        deltas: `[K, rows, width]`, model minus base.
        weight: `[K]`, at least 0.
        lambda_: scale of the merged delta.

    Returns:
        The merged delta, `[rows, width]`.
    """
    return merged_by_own_grams(deltas, weight, per_length=True) * lambda_


def merged_by_own_grams(deltas: Tensor, weight: Tensor, *, per_length: bool) -> Tensor:
    """Solve with each delta's own Gram matrix, divided by its squared length or not; `[rows, width]`.

    NaN throughout where an entry is not finite, because every entry of the result depends on it.
    """
    import torch

    size = float(deltas.abs().amax()) if deltas.numel() else 0.0
    if deltas.shape[1] == 1 or size == 0.0:
        return tensors.weighted_sum(deltas, weight) / tensors.total_weight(weight)
    if not math.isfinite(size):
        return torch.full_like(deltas[0], math.nan)
    power = math.frexp(size)[1]
    wide = deltas.to(torch.float64, copy=True)
    even = tensors.times_power(wide, -power)  # so that squares neither vanish nor overflow; it rounds nothing
    lengths = [float(one.square().sum()) for one in even]
    shares = [w / n if per_length and n > 0 else w for w, n in zip(weight.tolist(), lengths, strict=True)]
    return tensors.times_power(tensors.solve_own(list(even), shares), power).to(deltas.dtype)
