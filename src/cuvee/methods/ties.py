"""TIES: trim each delta, elect a sign per entry, average the deltas that agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.gain import Trim, cut_in, gain_if_asked, held_for_gain, regained
from cuvee.methods.job import Job, Round
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.trim import held_for_cut, trim_first
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut

TIES = Cite("Yadav et al. 2023, TIES-Merging: resolving interference when merging models", arxiv="2306.01708")
RESCALE = Param("rescale", "bool", "scale each trimmed delta back to its old L1 norm", default=False)


def measure(job: Job, _done: int, known: Any) -> Round | None:
    """The passes for the cut, then one for the L1 norms when `rescale` is on."""
    return gain_first(job, known) if isinstance(known, tensors.Cut | Trim) else trim_first(job, known)


def gain_first(job: Job, known: Cut | Trim) -> Round | None:
    """The pass for the L1 norms, where the cut is known and `rescale` is on."""
    return gain_if_asked(job, known, lambda deltas, start, _job, cut: keep_trimmed(deltas, start, cut))


def held(numel: int, models: int, tile: int) -> int:
    """What the search for the cut holds, or the sums of blocks for the L1 norms and their total."""
    return max(held_for_cut(numel, models, tile), held_for_gain(numel, models))


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(0, None),
    formula="δ̂ᵢ = the density·n largest entries of δᵢ by magnitude, per tensor\n"
    "γ = sign(Σ wᵢ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(wᵢ δ̂ᵢ) = γ]\n"
    "y = b + λ Σ Aᵢ wᵢ δ̂ᵢ / Σ Aᵢ wᵢ        (normalize: false → undivided)",
    params=(WEIGHT, DENSITY, LAMBDA, normalize(True), RESCALE, INT8_MASK),
    measure=measure,
    holds=held,
    laws=(
        "identity",
        "copies",
        "permutation",
        "zero-weight",
        "density-one",
        "lambda-zero",
        "tiles",
        "scale-equivariance",
        "seed",
        "finite",
    ),
    cite=(TIES,),
    differs=(
        "The paper trims over the whole model; mergekit, PEFT and Cuvee's `ties` trim each tensor by itself.",
        "Entries of equal magnitude at the cut: mergekit keeps whichever its sort leaves first, Cuvee the first by "
        "position, so that exactly ⌊density·n⌋ (at least one) stay and the result is the same every time.",
        "A density of 0 is refused; mergekit drops the model.",
        "The paper gives all models the same weight; mergekit and Cuvee weigh both the vote and the mean, and "
        "`normalize` divides by the weights that agree, where PEFT divides by the number of models that agree: at "
        "equal weights w PEFT's merged delta is w times ours, and at weights of 1 all agree.",
    ),
)
def ties(
    deltas: Tensor, weight: Tensor, lambda_: float, normalize: bool, start: int, statistics: Cut | Trim | None
) -> Tensor:
    """Average, entry by entry, the trimmed deltas whose sign wins the weighted vote.

    Algorithm 1 of the paper, with a weight per model.

    Args:
        deltas: `[K, n]`, model minus base.
        weight: `[K]`; a negative weight turns its model's votes round.
        lambda_: scale of the merged delta.
        normalize: divide each entry by the weights of the models that agree there.
        start: first element of the tile.
        statistics: the cut of each delta; `None` keeps them whole.

    Returns:
        The merged delta, `[n]`.
    """
    kept = keep_trimmed(deltas, start, cut_in(statistics))
    return average_agreeing(regained(kept, statistics), weight, normalize) * lambda_


def keep_trimmed(deltas: Tensor, start: int, cut: Cut | None) -> Tensor:
    """The deltas with all entries below the cut zeroed, if there is one."""
    return deltas if cut is None else tensors.keep_largest(deltas, cut, start)


def average_agreeing(kept: Tensor, weight: Tensor, normalize: bool) -> Tensor:
    """Elect a sign per entry and average the deltas `[K, n]` that agree; the sum, without `normalize`."""
    weighted = kept * tensors.per_model(weight, kept)
    agrees = tensors.agreement(weighted)
    total = tensors.weighted_sum(weighted, agrees)
    return total / tensors.agreeing_weight(weight, agrees) if normalize else total
