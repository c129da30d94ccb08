"""RegMean: the linear map that answers every model's own inputs most nearly as that model does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.fisher import WEIGHT
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

ALPHA = Param(
    "alpha",
    "float",
    "what the off-diagonal entries of the Gram matrices are multiplied with; 1 keeps them, 0 drops them",
    default=0.9,
    low=0.0,
    high=1.0,
)
RIDGE = Param(
    "ridge", "float", "added to the diagonal of every Gram matrix, as a share of its mean", default=0.0, low=0.0
)
REGMEAN = Cite("Jin et al. 2023, Dataless knowledge fusion by merging weights of language models", arxiv="2212.09849")


def factors(rows: int, width: int, read: int) -> int:
    """The models and the products in float64, and the sum of Gram matrices with its eigenvectors.

    The Gram matrices themselves are counted where they are read.
    """
    return 8 * (rows * width * (read + 3) + 5 * width * width)


def operations(rows: int, width: int, read: int) -> int:
    """A product for each model, with what comes before it, and a solution: so it was measured."""
    return 2 * width * width * (rows * read + width)


@merge_method(
    space="weight",
    scope="matrix",
    base="input",
    models=(1, None),
    family="quadratic",
    cost="K products and one solution of n × n for an m × n weight: O(K m n² + n³).",
    formula="y = x̄ + (Σ wᵢ (xᵢ − x̄) Gᵢ) (Σ wᵢ Gᵢ)⁻¹,   Gᵢ = XᵢᵀXᵢ with its off-diagonal entries times α\n"
    "y = x̄                       where nothing was collected; x̄ = Σ wᵢ xᵢ / Σ wᵢ",
    params=(WEIGHT, ALPHA, RIDGE),
    divides_by="weight",
    collected="gram",
    factors=factors,
    operations=operations,
    laws=("identity", "copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(REGMEAN, Cite("Nguyen et al. 2025, RegMean++ (statistics with --through-merged)", arxiv="2508.03121")),
    differs=(
        "Solved for the distance from the mean, which changes nothing where the sum of the Gram matrices can be "
        "inverted; along directions that no model's inputs have, the paper leaves the answer open, and here it is the "
        "mean.",
    ),
)
def regmean(models: Tensor, weight: Tensor, alpha: float, ridge: float, collected: Sequence[Tensor] | None) -> Tensor:
    """Solve for the weight whose outputs on all models' inputs are nearest to the models' own (eq. 2 of the paper).

    Args:
        models: `[K, rows, width]`: outputs by inputs.
        weight: `[K]`, at least 0.
        alpha: what off-diagonal entries are multiplied with, [0, 1].
        ridge: at least 0.
        collected: K Gram matrices `[width, width]`; `[1, rows, rows]` for layers that store inputs by outputs.

    Returns:
        `[rows, width]`.
    """
    mean = tensors.weighted_sum(models, weight) / tensors.total_weight(weight)
    if collected is None:
        return mean
    turned = collected[0].dim() == 3  # stored inputs by outputs
    grams = [tensors.damp(gram[0] if turned else gram, alpha) for gram in collected]
    away = [model.double() - mean.double() for model in models]
    found = tensors.solve([one.mT if turned else one for one in away], grams, weight, ridge)
    return (mean.double() + (found.mT if turned else found)).to(models.dtype)
