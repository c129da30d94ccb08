"""Weighted average of the models themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import WEIGHT, normalize
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor


@merge_method(
    family="average",
    space="weight",
    scope="element",
    base="input",
    models=(1, None),
    formula="y = Σ wᵢ xᵢ / Σ wᵢ      (normalize: false → y = Σ wᵢ xᵢ)",
    params=(WEIGHT, normalize(True)),
    divides_by="weight",
    laws=("identity", "copies", "permutation", "zero-weight", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(
        Cite("Wortsman et al. 2022, Model soups", arxiv="2203.05482"),
        Cite("Utans 1996, Weight averaging for neural networks"),
    ),
    differs=(
        "mergekit writes NaN or infinity when the weights sum to 0; here that is an error before anything is read.",
        "mergekit casts the inputs to `dtype` before the arithmetic; here they are read as they are and rounded once, "
        "at the end.",
    ),
)
def linear(models: Tensor, weight: Tensor, normalize: bool) -> Tensor:
    """Average the models, each with its weight.

    Args:
        models: `[K, n]`.
        weight: `[K]`, any finite numbers; their sum must not be 0 when `normalize`.
        normalize: divide by the sum of the weights.

    Returns:
        `[n]`.
    """
    total = tensors.weighted_sum(models, weight)
    return total / tensors.total_weight(weight) if normalize else total
