"""ACTMat: least squares where every delta's own Gram matrix stands for that of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.methods.params import LAMBDA, SHARE
from cuvee.methods.wudi import OWN_LAWS, merged_by_own_grams, own_factors, own_operations
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor


@merge_method(
    space="delta",
    scope="matrix",
    base="required",
    models=(0, None),
    family="quadratic",
    cost="K products and one solution of n × n for an m × n weight: O(K m n (m + n) + n³).",
    formula="τ = (Σ wᵢ τᵢ Gᵢ) (Σ wᵢ Gᵢ)⁺,   Gᵢ = τᵢᵀ τᵢ;   vectors: the mean of the deltas\ny = b + λ τ",
    params=(SHARE, LAMBDA),
    divides_by="weight",
    factors=own_factors,
    operations=own_operations,
    laws=(*OWN_LAWS, "finite"),
    cite=(Cite("ACTMat 2026, data-free model merging by activation matching", arxiv="2604.01329"),),
    differs=("As WUDI without the division by the squared length: a longer delta counts for more.",),
)
def actmat(deltas: Tensor, weight: Tensor, lambda_: float) -> Tensor:
    """Solve RegMean's equation with every delta's own Gram matrix in the place of its inputs'.

    Args:
        deltas: `[K, rows, width]`, model minus base.
        weight: `[K]`, at least 0.
        lambda_: scale of the merged delta.

    Returns:
        The merged delta, `[rows, width]`.
    """
    return merged_by_own_grams(deltas, weight, per_length=False) * lambda_
