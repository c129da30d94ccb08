"""DARE, then the sign election of TIES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.dare_linear import DARE, DARE_DIFFERS, DARE_LAWS, RESCALE, drop_and_rescale
from cuvee.methods.declare import merge_method
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.ties import TIES, average_agreeing

if TYPE_CHECKING:
    from torch import Tensor


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(0, None),
    formula="mᵢ ~ Bernoulli(densityᵢ);   δ̂ᵢ = mᵢ δᵢ / densityᵢ      (rescale: false → undivided)\n"
    "γ = sign(Σ wᵢ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(wᵢ δ̂ᵢ) = γ]\n"
    "y = b + λ Σ Aᵢ wᵢ δ̂ᵢ                      (normalize: true → … / Σ Aᵢ wᵢ)",
    params=(WEIGHT, DENSITY, LAMBDA, normalize(False), RESCALE, INT8_MASK),
    laws=DARE_LAWS,
    cite=(DARE, TIES),
    differs=(
        *DARE_DIFFERS,
        "mergekit and Cuvee add up the deltas that agree without dividing unless `normalize: true`; PEFT always "
        "divides, by the number that agree.",
    ),
)
def dare_ties(
    deltas: Tensor, weight: Tensor, density: Tensor, lambda_: float, normalize: bool, rescale: bool, draws: Tensor
) -> Tensor:
    """Drop and rescale each delta at random, then combine the entries whose sign wins the weighted vote.

    Args:
        deltas: `[K, n]`, model minus base.
        weight: `[K]`; a negative weight turns its model's votes round.
        density: `[K]`, probability that an entry stays, (0, 1].
        lambda_: scale of the merged delta.
        normalize: divide each entry by the weights of the models that agree there.
        rescale: divide what stays by the density.
        draws: `[K, n]`, uniform in [0, 1).

    Returns:
        The merged delta, `[n]`.
    """
    kept = drop_and_rescale(deltas, density, rescale, draws)
    return average_agreeing(kept, weight, normalize) * lambda_
