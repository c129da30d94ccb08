"""Trimmed mean: per entry the mean of the models without the smallest and the largest values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.median import ROBUST
from cuvee.types import Param

if TYPE_CHECKING:
    from torch import Tensor

BETA = Param(
    "beta",
    "float",
    "share of the models whose values are left out at either end, of each entry by itself",
    default=0.2,
    low=0.0,
    high=0.5,
    high_open=True,
)


@merge_method(
    family="robust",
    space="weight",
    scope="element",
    base="input",
    models=(1, None),
    formula="y = mean of x₁ … x_K, entry by entry, without the ⌊beta·K⌋ smallest and the ⌊beta·K⌋ largest values",
    params=(BETA,),
    laws=("identity", "copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(ROBUST,),
)
def trimmed_mean(models: Tensor, beta: float) -> Tensor:
    """Average the values of every entry but for the outermost.

    Args:
        models: `[K, n]`.
        beta: share left out at either end, [0, ½).

    Returns:
        `[n]`.
    """
    cut = int(beta * len(models))
    return tensors.mean_of(tensors.sorted_models(models)[cut : len(models) - cut])
