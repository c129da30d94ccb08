"""Iso-C: the sum of the deltas with all its singular values made equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.matrices import NULL, SPECTRAL_LAWS, VECTORS, decompositions, held, scale_of_merged
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.methods.job import Job

ISO = Cite(
    "Marczak et al. 2025, No task left behind: isotropic model merging with common and task-specific subspaces",
    arxiv="2502.04959",
)
SEARCHED = scale_of_merged("the paper searches it on a validation set, from 0 to 3 or so, and finds values above 1")


@merge_method(
    family="spectral",
    space="delta",
    scope="matrix",
    base="required",
    models=(1, None),
    formula="Σ δᵢ = U S Vᵀ with r singular values;   σ̄ = Σ sⱼ / r\ny = b + λ σ̄ U Vᵀ;   vectors: y = b + λ Σ δᵢ/N",
    params=(SEARCHED,),
    holds=held(0),
    operations=decompositions(1, 0),
    laws=("permutation", "lambda-zero", "rotation-of-inputs", *SPECTRAL_LAWS),
    cite=(ISO,),
    differs=(
        NULL,
        VECTORS,
        "The mean is over the singular values that are left, so that their sum stays.",
    ),
    cost="one singular value decomposition in float64 of every matrix, for any number of models: time grows with "
    "min(m, n)²·max(m, n).",
)
def iso_c(deltas: Tensor, lambda_: float, job: Job) -> Tensor:
    """Give every direction of the summed deltas the same strength (algorithm 1 of the paper).

    Args:
        deltas: `[K, m, n]`, model minus base.
        lambda_: scale of the merged delta.
        job: says whether the tensor is a matrix.

    Returns:
        The merged delta, `[m, n]`.
    """
    return tensors.merge_matrices(deltas, job.shape, flat_total, scale=lambda_)


def flat_total(matrices: tensors.Matrices) -> Tensor:
    """σ̄ U Vᵀ of the sum, `[m, n]`."""
    return tensors.triplets(matrices.total()).flattened()
