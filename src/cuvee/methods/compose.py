"""Free composition: thin the deltas, rescale what stays, elect a sign, combine; the named methods are presets of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.breadcrumbs import BREADCRUMBS
from cuvee.methods.dare_linear import DARE
from cuvee.methods.declare import merge_method
from cuvee.methods.della_linear import DELLA, EPSILON, window_rule
from cuvee.methods.gain import Trim, cut_in, held_for_gain, regained
from cuvee.methods.job import Job, Round, Survey
from cuvee.methods.outliers import GAMMA, held_for_outliers
from cuvee.methods.params import DENSITY, LAMBDA, WEIGHT
from cuvee.methods.presets import listed
from cuvee.methods.task_arithmetic import TASK_ARITHMETIC
from cuvee.methods.thinning import RANDOM, Thinning, thinned, thinning_first
from cuvee.methods.ties import TIES
from cuvee.methods.trim_whole import held_for_whole, trim_whole_first
from cuvee.types import Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut

SPARSIFY = Param(
    "sparsify",
    "choice",
    "which entries of a delta stay: the largest of each tensor, or of the whole model; a random draw; the largest but "
    "for outliers; a draw by their rank in the row",
    default="magnitude",
    options=("none", "magnitude", "magnitude_of_model", "random", "outliers", "ranks"),
)
RESCALE = Param(
    "rescale",
    "choice",
    "what makes up for the entries that went: division by the probability to stay, or the tensor's old L1 norm",
    default="none",
    options=("none", "probability", "norm"),
)
ELECT = Param(
    "elect",
    "choice",
    "which sign wins an entry, so that only the deltas that have it take part: that of the weighted sum, or that of "
    "more models; none: all take part",
    default="sum",
    options=("none", "sum", "count"),
)
COMBINE = Param(
    "combine",
    "choice",
    "weighted sum; divided by the weights that took part (mean), or by how many models did (count)",
    default="mean",
    options=("sum", "mean", "count"),
)


def rule(settings: Mapping[str, Any]) -> str | None:
    """Settings that would change nothing, or mean nothing, are refused."""
    sparsify, rescale = settings["sparsify"], settings["rescale"]
    if sparsify == "none" and settings["density"] != 1:
        return f"`sparsify: none` keeps all entries: density must be 1, found {settings['density']:g}"
    if sparsify != "ranks" and settings["epsilon"] != 0:
        return f"epsilon is the width of `sparsify: ranks`, found {settings['epsilon']:g} with `{sparsify}`"
    if sparsify != "outliers" and settings["gamma"] != 0:
        return f"gamma is the share of `sparsify: outliers`, found {settings['gamma']:g} with `{sparsify}`"
    if rescale == "probability" and sparsify not in RANDOM:
        return f"`rescale: probability` needs a random `sparsify` ({' or '.join(RANDOM)}), found `{sparsify}`"
    if rescale == "norm" and sparsify == "none":
        return "`rescale: norm` needs entries that went, found `sparsify: none`"
    return window_rule(settings) if sparsify == "ranks" else None


def measure(job: Job, _done: int, known: Any) -> Round | None:
    """The passes of the chosen thinning."""
    return thinning_first(job, known)


def survey(job: Job, _done: int, known: Any) -> Survey | None:
    """The surveys for the cut of whole models."""
    return trim_whole_first(job, known) if job.settings["sparsify"] == "magnitude_of_model" else None


def held(numel: int, models: int, tile: int) -> int:
    """What the most demanding of its passes holds."""
    passes = max(held_for_outliers(numel, models, tile), held_for_whole(numel, models, tile))
    return max(passes, held_for_gain(numel, models))


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    scope_if=(("sparsify", "ranks", "row"), ("sparsify", "magnitude_of_model", "model")),
    base="required",
    models=(0, None),
    formula="δ̂ᵢ = δᵢ, thinned (sparsify) and rescaled (rescale)\n"
    "γ = sign(Σ wᵢ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(wᵢ δ̂ᵢ) = γ]      (elect: count → γ = sign(Σ sign(wᵢ δ̂ᵢ));\n"
    "                                                                     none → Aᵢ = 1)\n"
    "y = b + λ Σ Aᵢ wᵢ δ̂ᵢ / Σ Aᵢ wᵢ        (combine: sum → undivided;  count → … / Σ Aᵢ)\n"
    "\n"
    "The methods that have names, as sparsify / rescale / elect / combine:\n" + listed(),
    params=(
        WEIGHT,
        DENSITY,
        replace(EPSILON, default=0.0),
        replace(GAMMA, default=0.0),
        LAMBDA,
        SPARSIFY,
        RESCALE,
        ELECT,
        COMBINE,
    ),
    rule=rule,
    measure=measure,
    survey=survey,
    holds=held,
    divides_by="weight",
    divides_if={"elect": "none", "combine": "mean"},
    draws_if=("sparsify", RANDOM),
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
    cite=(TASK_ARITHMETIC, TIES, DARE, DELLA, BREADCRUMBS),
    differs=(
        "`elect` always weighs the votes; PEFT elects before it weighs, which is the same where all weights are "
        "equal and positive.",
    ),
)
def compose(
    deltas: Tensor,
    weight: Tensor,
    density: Tensor,
    epsilon: Tensor,
    lambda_: float,
    sparsify: str,
    rescale: str,
    elect: str,
    combine: str,
    draws: Tensor | None,
    start: int,
    statistics: Cut | Trim | None,
    whole: Cut | None,
) -> Tensor:
    """Thin, rescale, elect and combine in any way; by default it is `ties`.

    Args:
        deltas: `[K, n]`, model minus base; `[K, rows, width]` where ranks in rows matter.
        weight: `[K]`; a negative weight turns its model's votes round.
        density: `[K]`, kept fraction or probability to stay, (0, 1].
        epsilon: `[K]`, half the width of the window of probabilities.
        lambda_: scale of the merged delta.
        sparsify: which entries stay.
        rescale: what makes up for those that went.
        elect: whose sign wins an entry.
        combine: what the sum is divided by.
        draws: of the shape of the deltas, uniform in [0, 1), where random numbers are needed.
        start: first element of the tile.
        statistics: the cut of each delta, and the gain of what stays.
        whole: the cut of each model.

    Returns:
        The merged delta, `[n]` or `[rows, width]`.
    """
    divides = rescale == "probability"
    how = Thinning(sparsify, divides, density, epsilon, start, cut_in(statistics), whole, draws)
    kept = regained(thinned(deltas, how), statistics)
    return (_of_all if elect == "none" else _of_agreeing)(kept, weight, elect, combine) * lambda_


def _of_all(kept: Tensor, weight: Tensor, _elect: str, combine: str) -> Tensor:
    """The sum over all models, divided."""
    total = tensors.weighted_sum(kept, weight)
    if combine == "sum":
        return total
    return total / (tensors.total_weight(weight) if combine == "mean" else total.new_tensor(len(kept)))


def _of_agreeing(kept: Tensor, weight: Tensor, elect: str, combine: str) -> Tensor:
    """The sum over the models whose sign wins an entry, divided."""
    weighted = kept * tensors.per_model(weight, kept)
    agrees = tensors.agreement(weighted, weighted.sign() if elect == "count" else None)
    total = tensors.weighted_sum(weighted, agrees)
    if combine == "sum":
        return total
    return total / tensors.agreeing_weight(weight if combine == "mean" else [1.0] * len(kept), agrees)
