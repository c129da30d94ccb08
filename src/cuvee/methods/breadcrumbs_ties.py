"""Model Breadcrumbs, then the sign election of TIES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.breadcrumbs import (
    BREADCRUMBS,
    BREADCRUMBS_DIFFERS,
    BREADCRUMBS_LAWS,
    held,
    keep_inner,
    measure,
)
from cuvee.methods.declare import merge_method
from cuvee.methods.gain import Trim, cut_in, regained
from cuvee.methods.outliers import GAMMA
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.ties import RESCALE, TIES, average_agreeing

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(0, None),
    formula="δ̂ᵢ = δᵢ without its ⌊gamma·n⌋ largest entries by magnitude, and of the others the ⌊density·n⌋ largest,\n"
    "     per tensor; fewer are too large where not so many would be left      (density: 1 → all entries)\n"
    "γ = sign(Σ wᵢ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(wᵢ δ̂ᵢ) = γ]\n"
    "y = b + λ Σ Aᵢ wᵢ δ̂ᵢ                      (normalize: true → … / Σ Aᵢ wᵢ)",
    params=(WEIGHT, DENSITY, GAMMA, LAMBDA, normalize(False), RESCALE, INT8_MASK),
    measure=measure,
    holds=held,
    laws=BREADCRUMBS_LAWS,
    cite=(BREADCRUMBS, TIES),
    differs=BREADCRUMBS_DIFFERS,
)
def breadcrumbs_ties(
    deltas: Tensor, weight: Tensor, lambda_: float, normalize: bool, start: int, statistics: Cut | Trim | None
) -> Tensor:
    """Drop the smallest entries of each delta and the outliers, then combine those whose sign wins the weighted vote.

    Args:
        deltas: `[K, n]`, model minus base.
        weight: `[K]`; a negative weight turns its model's votes round.
        lambda_: scale of the merged delta.
        normalize: divide each entry by the weights of the models that agree there.
        start: first element of the tile.
        statistics: both cuts of each delta; `None` keeps them whole.

    Returns:
        The merged delta, `[n]`.
    """
    kept = regained(keep_inner(deltas, start, cut_in(statistics)), statistics)
    return average_agreeing(kept, weight, normalize) * lambda_
