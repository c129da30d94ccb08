"""TIES as in its paper: trim each delta over the whole model, elect a sign per entry, average those that agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Survey
from cuvee.methods.params import DENSITY, LAMBDA
from cuvee.methods.ties import TIES
from cuvee.methods.trim_whole import held_for_whole, keep_whole, trim_whole_first

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut

OF_MODEL = replace(
    DENSITY, default=0.2, doc="fraction of this model's delta that is kept, counted over all tensors; 1 keeps all"
)


def survey(job: Job, _done: int, known: Any) -> Survey | None:
    """The surveys for the cut."""
    return trim_whole_first(job, known)


@merge_method(
    family="sparse",
    space="delta",
    scope="model",
    base="required",
    models=(1, None),
    formula="δ̂ᵢ = the density·n largest entries of δᵢ by magnitude, over all tensors; of those equal to the last, all\n"
    "γ = sign(Σ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(δ̂ᵢ) = γ]\n"
    "y = b + λ Σ Aᵢ δ̂ᵢ / Σ Aᵢ",
    params=(OF_MODEL, LAMBDA),
    survey=survey,
    holds=held_for_whole,
    laws=(
        "identity",
        "copies",
        "permutation",
        "density-one",
        "lambda-zero",
        "tiles",
        "scale-equivariance",
        "seed",
        "finite",
    ),
    cite=(TIES,),
    differs=(
        "mergekit, PEFT and Cuvee's `ties` trim each tensor by itself; here one threshold cuts all tensors of a model, "
        "as in the paper.",
        "The paper keeps the k largest entries; its code takes the next smaller entry for the threshold, and so keeps "
        "at least one more.",
        "FusionBench adds up the entries that agree and does not divide; with λ = 0.3 by default.",
    ),
)
def ties_global(deltas: Tensor, lambda_: float, whole: Cut | None) -> Tensor:
    """Average, entry by entry, the deltas, trimmed over the whole model, whose sign has the larger total.

    Algorithm 1 of the paper; the models weigh the same.

    Args:
        deltas: `[K, n]`, model minus base.
        lambda_: scale of the merged delta.
        whole: the cut of each model; `None` keeps them whole.

    Returns:
        The merged delta, `[n]`.
    """
    kept = keep_whole(deltas, whole)
    agrees = tensors.agreement(kept)
    return tensors.weighted_sum(kept, agrees) / tensors.agreeing_weight([1.0] * len(kept), agrees) * lambda_
