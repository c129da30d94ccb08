"""Task arithmetic: add weighted task vectors to the base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import INT8_MASK, LAMBDA, WEIGHT, ignored, normalize
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

TASK_ARITHMETIC = Cite("Ilharco et al. 2023, Editing models with task arithmetic", arxiv="2212.04089")


@merge_method(
    family="task",
    space="delta",
    scope="element",
    base="required",
    models=(0, None),
    formula="y = b + λ Σ wᵢ δᵢ,  δᵢ = xᵢ − b      (normalize: true → … / Σ wᵢ)",
    params=(
        WEIGHT,
        LAMBDA,
        normalize(False),
        INT8_MASK,
        ignored("density", "per-model", "task_arithmetic drops nothing; use ties or dare_linear for that"),
        ignored("rescale", "bool", "task_arithmetic drops nothing that could be rescaled for"),
    ),
    divides_by="weight",
    laws=(
        "identity",
        "copies",
        "permutation",
        "zero-weight",
        "lambda-zero",
        "tiles",
        "scale-equivariance",
        "seed",
        "finite",
    ),
    cite=(TASK_ARITHMETIC,),
    differs=(
        "With `normalize: true`, mergekit divides by 1 where the weights sum to 0; here that is an error.",
        "PEFT's `task_arithmetic` is the same sum.",
    ),
)
def task_arithmetic(deltas: Tensor, weight: Tensor, lambda_: float, normalize: bool) -> Tensor:
    """Add up the task vectors, each with its weight (eq. 1 and section 3 of the paper).

    Args:
        deltas: `[K, n]`, model minus base.
        weight: `[K]`, negative to forget a task.
        lambda_: scale of the sum.
        normalize: divide by the sum of the weights.

    Returns:
        The merged delta, `[n]`.
    """
    total = tensors.weighted_sum(deltas, weight)
    return (total / tensors.total_weight(weight) if normalize else total) * lambda_
