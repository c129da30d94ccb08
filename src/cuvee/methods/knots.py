"""KnOTS: TIES on the coordinates of the deltas in a basis that they share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cuvee.methods.params as common
from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.matrices import SPECTRAL_LAWS, decomposed, held_joined, scale_of_merged
from cuvee.methods.ties import TIES, average_agreeing
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.methods.job import Job

KNOTS = Cite("Stoica et al. 2024, Model merging with SVD to tie the KnOTS", arxiv="2410.19735")
WEIGHT = replace(common.WEIGHT, required=False, default=1.0)
DENSITY = replace(common.DENSITY, doc="fraction of this model's coordinates that is kept, per tensor; 1 keeps all")
ALIGNED = Param(
    "aligned",
    "choice",
    "what is merged: V, the coordinates with every direction of the basis as long as the others, or SV, times their "
    "singular values; the same at density 1",
    default="V",
    options=("V", "SV"),
)


@merge_method(
    family="spectral",
    space="delta",
    scope="matrix",
    base="required",
    models=(1, None),
    formula="[δ₁ … δ_N] = U S [V₁ᵀ … V_Nᵀ], the deltas side by side\n"
    "V = TIES of V₁ … V_N with weights wᵢ and densities        (aligned: SV → of S Vᵢᵀ)\n"
    "y = b + λ U S Vᵀ;   vectors: y = b + λ Σ wᵢ δᵢ/Σ wᵢ",
    params=(
        WEIGHT,
        DENSITY,
        scale_of_merged("the paper searches it on a validation set, from 0 to 1 or so"),
        common.normalize(True),
        ALIGNED,
    ),
    divides_by="weight",
    holds=held_joined,
    operations=lambda rows, width, read: decomposed(rows, width * (read - 1)),
    laws=("identity", "copies", "permutation", "zero-weight", "density-one", "lambda-zero", *SPECTRAL_LAWS),
    cite=(KNOTS, TIES),
    differs=(
        "The authors' published settings merge S Vᵢᵀ (`aligned: SV`); the paper, and the default here, Vᵢᵀ. The two "
        "differ only in what TIES trims.",
        "The authors cut singular values up to 1e-5, whatever the scale; here those that are rounding (below "
        "max(m, N n)·2⁻⁵² of the largest), and coordinates that are rounding do not vote.",
        "Trims, votes and means are those of `ties`, with a weight for each model; the authors give all models the "
        "same weight, and trim over the whole model.",
        "Embeddings and output heads are matrices like all others, and a convolution is one with a row for each output "
        "channel; vectors and scalars get the weighted mean of their deltas (`normalize: false` → their sum).",
        "KnOTS with DARE is not there; a plain weighted sum of the Vᵢ is `task_arithmetic`.",
    ),
    cost="one singular value decomposition in float64 of all deltas side by side, `[m, N n]`: time grows with "
    "min(m, N n)²·max(m, N n).",
)
def knots(deltas: Tensor, lambda_: float, normalize: bool, aligned: str, job: Job) -> Tensor:
    """Merge the deltas by TIES in a basis that they share, where they can be compared.

    Section 4 of the paper. Where singular values are equal the basis, and with it the trim, is a matter of choice.

    Args:
        deltas: `[K, m, n]`, model minus base.
        lambda_: scale of the merged delta.
        normalize: divide by the weights that agree.
        aligned: `V`, or `SV` for coordinates times singular values.
        job: says whether the tensor is a matrix, and `weight` and `density` in float64.

    Returns:
        The merged delta, `[m, n]`.
    """
    weight, density = job.settings["weight"].cpu(), job.settings["density"].cpu()
    counts = weight != 0
    if not bool(counts.any()):
        return deltas[0] * 0.0

    def merge(matrices: tensors.Matrices) -> Tensor:
        basis = tensors.shared_basis(matrices)
        rows = tensors.keep_top(basis.coordinates(aligned == "SV"), density[counts].tolist())
        return basis.lifted(average_agreeing(rows, weight[counts], normalize), aligned == "SV")

    shares = weight[counts] / (tensors.total_weight(weight) if normalize else 1.0)
    return tensors.merge_matrices(deltas[counts], job.shape, merge, scale=lambda_, shares=shares.tolist())
