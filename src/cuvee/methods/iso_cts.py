"""Iso-CTS: common directions of the sum and directions of each task's own, all of the same strength."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.iso_c import ISO, SEARCHED
from cuvee.methods.matrices import NULL, SPECTRAL_LAWS, VECTORS, decompositions, held
from cuvee.types import Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.methods.job import Job

COMMON = Param(
    "common_fraction",
    "float",
    "share of the min(m, n) directions that is common; the rest is divided among the tasks",
    default=0.8,
    low=0.0,
    high=1.0,
)


@merge_method(
    family="spectral",
    space="delta",
    scope="matrix",
    base="required",
    models=(1, None),
    formula="r = min(m, n);   s = (r − ⌊common_fraction·r⌋)/N, rounded;   k = r − N s\n"
    "U₀, S₀, V₀ = the k largest triplets of Σ δᵢ;   Uᵢ, Sᵢ, Vᵢ = the s largest of (I − U₀U₀ᵀ) δᵢ\n"
    "Û, V̂ = all of them side by side;   σ̄ = the mean of all S\n"
    "y = b + λ σ̄ Û⊥ V̂⊥ᵀ,   X⊥ = P Qᵀ of the SVD P D Qᵀ of X;   vectors: y = b + λ Σ δᵢ/N",
    params=(COMMON, SEARCHED),
    holds=held(5),
    operations=decompositions(2, 1),
    laws=("permutation", "lambda-zero", "rotation-of-inputs", *SPECTRAL_LAWS),
    cite=(ISO,),
    differs=(
        NULL,
        VECTORS,
        "The mean is over the singular values that are left.",
        "A share that would round to more directions than the matrix has is rounded down.",
    ),
    cost="a singular value decomposition in float64 of the sum, one of every model's delta and two of the stacked "
    "vectors: time grows with min(m, n)²·max(m, n).",
)
def iso_cts(deltas: Tensor, common_fraction: float, lambda_: float, job: Job) -> Tensor:
    """Give common directions, and directions that only one task has, the same strength (algorithm 2 of the paper).

    Args:
        deltas: `[K, m, n]`, model minus base.
        common_fraction: share of the directions that is common, [0, 1].
        lambda_: scale of the merged delta.
        job: says whether the tensor is a matrix.

    Returns:
        The merged delta, `[m, n]`.
    """
    return tensors.merge_matrices(deltas, job.shape, partial(common_and_own, fraction=common_fraction), scale=lambda_)


def common_and_own(matrices: tensors.Matrices, fraction: float) -> Tensor:
    """σ̄ Û⊥ V̂⊥ᵀ, `[m, n]`."""
    common, own = directions(matrices.smallest, len(matrices), fraction)
    top = tensors.triplets(matrices.total(), common)
    parts = [tensors.triplets_beside(matrix, top.u, own) for matrix in matrices] if own else []
    return tensors.side_by_side([*parts, top]).orthogonalised().flattened()


def directions(smallest: int, models: int, fraction: float) -> tuple[int, int]:
    """How many directions are common, and how many every task has of its own, so that together they are all.

    Example:
        >>> directions(768, 8, 0.8)
        (616, 19)
    """
    own = min(round((smallest - int(smallest * fraction)) / models), smallest // models)
    return smallest - own * models, own
