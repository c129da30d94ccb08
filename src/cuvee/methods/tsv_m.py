"""TSV-M: the top singular triplets of every delta side by side, their vectors made orthogonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.matrices import NULL, SPECTRAL_LAWS, VECTORS, decompositions, held, scale_of_merged
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.methods.job import Job

TSV = Cite("Gargiulo et al. 2025, Task singular vectors: reducing task interference in model merging", "2412.00081")


@merge_method(
    family="spectral",
    space="delta",
    scope="matrix",
    base="required",
    models=(1, None),
    formula="δᵢ = Uᵢ Σᵢ Vᵢᵀ, of which the k = ⌊min(m, n)/N⌋ largest triplets stay, at least one\n"
    "Û = [U₁ … U_N], Σ̂ = diag(Σ₁ … Σ_N), V̂ = [V₁ … V_N]\n"
    "y = b + λ Û⊥ Σ̂ V̂⊥ᵀ,   X⊥ = P Qᵀ of the SVD P D Qᵀ of X;   vectors: y = b + λ Σ δᵢ/N",
    params=(scale_of_merged("1 in the paper"),),
    holds=held(5),
    operations=decompositions(2, 1),
    laws=("identity", "permutation", "lambda-zero", "rotation-of-inputs", *SPECTRAL_LAWS),
    cite=(TSV,),
    differs=(
        NULL,
        VECTORS,
        "Of more models than min(m, n) each keeps one triplet; the authors' code keeps none, so that the deltas of "
        "such a matrix are lost.",
    ),
    cost="one singular value decomposition in float64 of every model's delta and two of the stacked vectors: time "
    "grows with min(m, n)²·max(m, n).",
)
def tsv_m(deltas: Tensor, lambda_: float, job: Job) -> Tensor:
    """Add up the strongest directions of every delta after making them orthogonal to each other.

    Sections 3.2 and 4.2 of the paper. Together the models keep as many directions as the matrix has.

    Args:
        deltas: `[K, m, n]`, model minus base.
        lambda_: scale of the merged delta.
        job: says whether the tensor is a matrix.

    Returns:
        The merged delta, `[m, n]`.
    """
    return tensors.merge_matrices(deltas, job.shape, orthogonal_sum, scale=lambda_)


def orthogonal_sum(matrices: tensors.Matrices) -> Tensor:
    """Û⊥ Σ̂ V̂⊥ᵀ, `[m, n]`."""
    each = max(1, matrices.smallest // len(matrices))
    parts = [tensors.triplets(matrix, each) for matrix in matrices]
    return tensors.side_by_side(parts).orthogonalised().product()
