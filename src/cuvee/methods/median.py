"""Median: per entry the middle value of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

ROBUST = Cite(
    "Yin et al. 2018, Byzantine-robust distributed learning: towards optimal statistical rates", arxiv="1803.01498"
)


@merge_method(
    family="robust",
    space="weight",
    scope="element",
    base="input",
    models=(1, None),
    formula="y = median of x₁ … x_K, entry by entry; of an even number the mean of the two in the middle",
    laws=("identity", "copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(ROBUST,),
)
def median(models: Tensor) -> Tensor:
    """Take the middle value of every entry, which fewer than half of the models cannot move far.

    Args:
        models: `[K, n]`.

    Returns:
        `[n]`.
    """
    half, is_odd = divmod(len(models), 2)
    ordered = tensors.sorted_models(models)
    return ordered[half].clone() if is_odd else (ordered[half - 1] + ordered[half]) * 0.5
