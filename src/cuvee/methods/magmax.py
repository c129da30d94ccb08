"""MagMax: per entry the delta of largest magnitude."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import LAMBDA
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

OF_MAXIMA = replace(LAMBDA, doc=f"{LAMBDA.doc}; the authors' code has 0.5")


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(1, None),
    formula="y = b + λ δₘ,   m = argmaxᵢ |δᵢ| entry by entry; of equal ones the first model",
    params=(OF_MAXIMA,),
    laws=("identity", "copies", "lambda-zero", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(
        Cite(
            "Marczak et al. 2024, MagMax: leveraging model merging for seamless continual learning", arxiv="2407.06322"
        ),
    ),
)
def magmax(deltas: Tensor, lambda_: float) -> Tensor:
    """Take, entry by entry, the change of largest magnitude.

    Args:
        deltas: `[K, n]`, model minus base.
        lambda_: scale of the merged delta.

    Returns:
        The merged delta, `[n]`.
    """
    return tensors.largest_magnitude(deltas) * lambda_
