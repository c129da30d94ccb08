"""DARE, then task arithmetic: drop entries of each delta at random, rescale the rest, add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.task_arithmetic import TASK_ARITHMETIC
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

DARE = Cite("Yu et al. 2023, Language models are Super Mario (DARE)", arxiv="2311.03099")
RESCALE = Param("rescale", "bool", "divide what is kept by the density, so that the mean stays", default=True)
DARE_LAWS = (
    "identity",
    "copies",
    "permutation",
    "zero-weight",
    "density-one",
    "lambda-zero",
    "tiles",
    "scale-equivariance",
    "expectation",
    "seed",
    "names",
    "finite",
)
DARE_DIFFERS = (
    "Kept entries are divided by the density, as in the paper and in PEFT; mergekit matches the tensor's old L1 norm, "
    "which agrees on large tensors and is biased on small ones.",
    "The mask depends on seed, model and tensor names and position only: any number of workers and any tile size give "
    "the same bytes. A tensor that is another one under a second name in every model has the mask of that one. "
    "mergekit draws from one global generator, without a seed by default.",
)


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(0, None),
    formula="mᵢ ~ Bernoulli(densityᵢ);   δ̂ᵢ = mᵢ δᵢ / densityᵢ      (rescale: false → undivided)\n"
    "y = b + λ Σ wᵢ δ̂ᵢ                         (normalize: true → … / Σ wᵢ)",
    params=(WEIGHT, DENSITY, LAMBDA, normalize(False), RESCALE, INT8_MASK),
    divides_by="weight",
    laws=DARE_LAWS,
    cite=(DARE, TASK_ARITHMETIC),
    differs=DARE_DIFFERS,
)
def dare_linear(
    deltas: Tensor, weight: Tensor, density: Tensor, lambda_: float, normalize: bool, rescale: bool, draws: Tensor
) -> Tensor:
    """Drop and rescale each delta, then add them up with their weights (eq. 1–2 of the paper; its p is 1 − density).

    Args:
        deltas: `[K, n]`, model minus base.
        weight: `[K]`.
        density: `[K]`, probability that an entry stays, (0, 1].
        lambda_: scale of the sum.
        normalize: divide by the sum of the weights.
        rescale: divide what stays by the density.
        draws: `[K, n]`, uniform in [0, 1).

    Returns:
        The merged delta, `[n]`.
    """
    total = tensors.weighted_sum(drop_and_rescale(deltas, density, rescale, draws), weight)
    return (total / tensors.total_weight(weight) if normalize else total) * lambda_


def drop_and_rescale(deltas: Tensor, density: Tensor, rescale: bool, draws: Tensor) -> Tensor:
    """DARE itself, `[K, n]`."""
    kept = tensors.keep_drawn(deltas, draws, density)
    return kept / tensors.per_model(density, kept) if rescale else kept
