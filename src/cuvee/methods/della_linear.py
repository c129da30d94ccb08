"""DELLA, then task arithmetic: drop entries at random, the small ones of a row more often, rescale, add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.task_arithmetic import TASK_ARITHMETIC
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

DELLA = Cite("Deep, Bhardwaj and Poria 2024, DELLA-Merging: magnitude-based sampling", arxiv="2406.11617")
EPSILON = Param(
    "epsilon",
    "float",
    "half the width of the window of probabilities: the smallest entry of a row stays with density − ε, the largest "
    "with density + ε; both must be in (0, 1) unless the density is 1",
    default=0.15,
    per_model=True,
    low=0.0,
    high=0.5,
    high_open=True,
)
RESCALE = Param("rescale", "bool", "divide what is kept by its probability, so that every mean stays", default=True)
DELLA_LAWS = (
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
DELLA_DIFFERS = (
    "What is kept is divided by its own probability, as in the paper, so that every entry is right in the mean; "
    "mergekit matches the tensor's old L1 norm, which makes small entries too small and large ones too large.",
    "A row is everything that one output is made with, also in convolutions; mergekit ranks along the second dimension "
    "only, and stops where that has one entry.",
    "Ranks are exact for every dtype; mergekit keeps them in bfloat16 where the models are, in which ranks above 256 "
    "are coarse.",
    "The mask depends on seed, model and tensor names and position only; mergekit draws from one global generator, "
    "without a seed by default.",
)


def window_rule(settings: Mapping[str, Any]) -> str | None:
    """All probabilities must be in (0, 1), unless nothing is dropped."""
    density, epsilon = settings["density"], settings["epsilon"]
    if density == 1 or 0 < density - epsilon <= density + epsilon < 1:
        return None
    return f"density − epsilon and density + epsilon must be in (0, 1); found {density:g} and {epsilon:g}"


@merge_method(
    family="sparse",
    space="delta",
    scope="row",
    base="required",
    models=(0, None),
    formula="pᵢ = densityᵢ − εᵢ + 2εᵢ (r − 1)/(m − 1) for the entry of rank r by magnitude in its row of m\n"
    "mᵢ ~ Bernoulli(pᵢ);   δ̂ᵢ = mᵢ δᵢ / pᵢ        (rescale: false → undivided)\n"
    "y = b + λ Σ wᵢ δ̂ᵢ                         (normalize: true → … / Σ wᵢ)",
    params=(WEIGHT, DENSITY, EPSILON, LAMBDA, normalize(False), RESCALE, INT8_MASK),
    divides_by="weight",
    rule=window_rule,
    laws=DELLA_LAWS,
    cite=(DELLA, TASK_ARITHMETIC),
    differs=DELLA_DIFFERS,
)
def della_linear(
    deltas: Tensor,
    weight: Tensor,
    density: Tensor,
    epsilon: Tensor,
    lambda_: float,
    normalize: bool,
    rescale: bool,
    draws: Tensor,
) -> Tensor:
    """Drop and rescale each delta, small entries more often than large ones, then add them up.

    Args:
        deltas: `[K, rows, width]`, model minus base.
        weight: `[K]`.
        density: `[K]`, mean probability that an entry stays, (0, 1].
        epsilon: `[K]`, half the width of the window of probabilities.
        lambda_: scale of the sum.
        normalize: divide by the sum of the weights.
        rescale: divide what stays by its probability.
        draws: `[K, rows, width]`, uniform in [0, 1).

    Returns:
        The merged delta, `[rows, width]`.
    """
    total = tensors.weighted_sum(drop_by_rank(deltas, density, epsilon, rescale, draws), weight)
    return (total / tensors.total_weight(weight) if normalize else total) * lambda_


def drop_by_rank(deltas: Tensor, density: Tensor, epsilon: Tensor, rescale: bool, draws: Tensor) -> Tensor:
    """DELLA itself, `[K, rows, width]`; a model of density 1 is left as it is."""
    whole = (density >= 1).to(density.dtype)
    probability = tensors.keep_probabilities(deltas, density, epsilon * (1 - whole))
    kept = tensors.keep_below(deltas, draws, probability)
    return kept / probability if rescale else kept
