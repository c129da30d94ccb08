"""DELLA, then the sign election of TIES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.methods.della_linear import (
    DELLA,
    DELLA_DIFFERS,
    DELLA_LAWS,
    EPSILON,
    RESCALE,
    drop_by_rank,
    window_rule,
)
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.ties import TIES, average_agreeing

if TYPE_CHECKING:
    from torch import Tensor


@merge_method(
    family="sparse",
    space="delta",
    scope="row",
    base="required",
    models=(0, None),
    formula="pᵢ = densityᵢ − εᵢ + 2εᵢ (r − 1)/(m − 1) for the entry of rank r by magnitude in its row of m\n"
    "mᵢ ~ Bernoulli(pᵢ);   δ̂ᵢ = mᵢ δᵢ / pᵢ        (rescale: false → undivided)\n"
    "γ = sign(Σ wᵢ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(wᵢ δ̂ᵢ) = γ]\n"
    "y = b + λ Σ Aᵢ wᵢ δ̂ᵢ / Σ Aᵢ wᵢ              (normalize: false → undivided)",
    params=(WEIGHT, DENSITY, EPSILON, LAMBDA, normalize(True), RESCALE, INT8_MASK),
    rule=window_rule,
    laws=DELLA_LAWS,
    cite=(DELLA, TIES),
    differs=DELLA_DIFFERS,
)
def della(
    deltas: Tensor,
    weight: Tensor,
    density: Tensor,
    epsilon: Tensor,
    lambda_: float,
    normalize: bool,
    rescale: bool,
    draws: Tensor,
) -> Tensor:
    """Drop and rescale each delta, small entries more often than large ones, then average those whose sign wins.

    Args:
        deltas: `[K, rows, width]`, model minus base.
        weight: `[K]`; a negative weight turns its model's votes round.
        density: `[K]`, mean probability that an entry stays, (0, 1].
        epsilon: `[K]`, half the width of the window of probabilities.
        lambda_: scale of the merged delta.
        normalize: divide each entry by the weights of the models that agree there.
        rescale: divide what stays by its probability.
        draws: `[K, rows, width]`, uniform in [0, 1).

    Returns:
        The merged delta, `[rows, width]`.
    """
    kept = drop_by_rank(deltas, density, epsilon, rescale, draws)
    return average_agreeing(kept, weight, normalize) * lambda_
