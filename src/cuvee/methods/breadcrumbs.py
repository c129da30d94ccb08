"""Model Breadcrumbs: drop the smallest entries of each delta and the very largest ones, then add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.gain import Trim, cut_in, gain_if_asked, held_for_gain, regained
from cuvee.methods.job import Job, Round
from cuvee.methods.outliers import GAMMA, held_for_outliers, outliers_first
from cuvee.methods.params import DENSITY, INT8_MASK, LAMBDA, WEIGHT, normalize
from cuvee.methods.task_arithmetic import TASK_ARITHMETIC
from cuvee.methods.ties import RESCALE
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut

BREADCRUMBS = Cite(
    "Davari and Belilovsky 2023, Model Breadcrumbs: scaling multi-task model merging with sparse masks",
    arxiv="2312.06795",
)
BREADCRUMBS_LAWS = (
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
)
BREADCRUMBS_DIFFERS = (
    "Entries of equal magnitude at either cut: mergekit drops whichever its sort leaves last, Cuvee takes the first by "
    "position for the larger, so that the result is the same every time.",
    "A density of 0 is refused; mergekit drops the model. As in mergekit, nothing stays of a tensor of which "
    "⌊density·n⌋ is 0.",
    "The paper counts what is dropped at either end, Cuvee and mergekit what stays and what is too large: "
    "density = 1 − β − γ.",
)


def measure(job: Job, _done: int, known: Any) -> Round | None:
    """The passes for both cuts, then one for the L1 norms when `rescale` is on."""
    if not isinstance(known, tensors.Cut | Trim):
        return outliers_first(job, known)
    return gain_if_asked(job, known, lambda deltas, start, _job, cut: keep_inner(deltas, start, cut))


def held(numel: int, models: int, tile: int) -> int:
    """What the search for the cuts holds, or the sums of blocks for the L1 norms and their total."""
    return max(held_for_outliers(numel, models, tile), held_for_gain(numel, models))


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(0, None),
    formula="δ̂ᵢ = δᵢ without its ⌊gamma·n⌋ largest entries by magnitude, and of the others the ⌊density·n⌋ largest,\n"
    "     per tensor; fewer are too large where not so many would be left      (density: 1 → all entries)\n"
    "y = b + λ Σ wᵢ δ̂ᵢ                         (normalize: true → … / Σ wᵢ)",
    params=(WEIGHT, DENSITY, GAMMA, LAMBDA, normalize(False), RESCALE, INT8_MASK),
    divides_by="weight",
    measure=measure,
    holds=held,
    laws=BREADCRUMBS_LAWS,
    cite=(BREADCRUMBS, TASK_ARITHMETIC),
    differs=BREADCRUMBS_DIFFERS,
)
def breadcrumbs(
    deltas: Tensor, weight: Tensor, lambda_: float, normalize: bool, start: int, statistics: Cut | Trim | None
) -> Tensor:
    """Drop the smallest entries of each delta and the outliers, then add them up with their weights.

    Args:
        deltas: `[K, n]`, model minus base.
        weight: `[K]`.
        lambda_: scale of the sum.
        normalize: divide by the sum of the weights.
        start: first element of the tile.
        statistics: both cuts of each delta; `None` keeps them whole.

    Returns:
        The merged delta, `[n]`.
    """
    kept = regained(keep_inner(deltas, start, cut_in(statistics)), statistics)
    total = tensors.weighted_sum(kept, weight)
    return (total / tensors.total_weight(weight) if normalize else total) * lambda_


def keep_inner(deltas: Tensor, start: int, cut: Cut | None) -> Tensor:
    """The deltas with all entries outside both cuts zeroed, if there are cuts."""
    return deltas if cut is None else tensors.keep_between(deltas, cut, start)
