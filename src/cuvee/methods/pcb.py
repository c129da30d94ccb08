"""PCB: weigh the entries of every delta by how they compete, in their model and with those of the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round
from cuvee.methods.largest import Prefix, held_for_largest, largest_first
from cuvee.methods.params import LAMBDA
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut, Extremes

RATIO = Param(
    "ratio",
    "float",
    "fraction of this model's entries that is kept, those of largest score, counted per tensor",
    default=0.1,
    low=0.0,
    low_open=True,
    high=1.0,
)


@dataclass(frozen=True)
class Competition:
    """What is known of a tensor.

    Attributes:
        low: least magnitude of every delta, `[K]`, float64.
        width: largest minus least, `[K]`; infinite where it would be 0, so that every entry counts as the least.
        found: how far the last score that counts is known; 0 where fewer than are kept are above it.
    """

    low: Tensor
    width: Tensor
    found: Prefix | Cut


def measure(job: Job, _done: int, known: Competition | None) -> Round | None:
    """A pass for the range of the magnitudes, then those for the last score kept."""
    if known is None:
        return Round(lambda deltas, _start, _job, _known: tensors.Extremes.of(deltas.abs()), _ranged)
    if not isinstance(known.found, Prefix):
        return None
    following = largest_first(job, known.found, lambda deltas, _start: _scored(deltas, known), edges=False)
    return Round(
        following.observe, lambda total, job, known: replace(known, found=following.conclude(total, job, known.found))
    )


def _ranged(total: Extremes, job: Job, _known: None) -> Competition:
    width = total.high.double() - total.low.double()
    kept = job.numel - min(int((1.0 - job.settings["ratio"]) * job.numel), job.numel - 1)
    wanted = total.low.new_full(total.low.shape, kept).long()
    return Competition(total.low.double(), width.masked_fill(width == 0, float("inf")), Prefix(wanted))


def _scored(deltas: Tensor, known: Competition) -> Tensor:
    """The scores, in the dtype of the arithmetic; negative ones count as 0."""
    return tensors.competition_scores(deltas, known.low, known.width).clamp_(min=0)


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(1, None),
    formula="S = Σ δᵢ;   mᵢ = (|δᵢ| − min |δᵢ|)/(max |δᵢ| − min |δᵢ|) over the tensor, 0 where all are equal\n"
    "βᵢ = exp(K mᵢ²) · tanh(δᵢ S)\n"
    "β̂ᵢ = max(βᵢ, 0) where it is among the ratio·n largest of its model and tensor, else 0\n"
    "y = b + λ Σ β̂ᵢ δᵢ / Σ β̂ᵢ;   y = b where Σ β̂ᵢ = 0",
    params=(RATIO, LAMBDA),
    measure=measure,
    holds=lambda numel, models, tile: held_for_largest(numel, models - 1, tile),
    laws=("lambda-zero", "tiles", "seed", "finite"),
    cite=(Cite("Du et al. 2024, Parameter competition balancing for model merging (PCB-Merging)", arxiv="2410.02396"),),
    differs=(
        "The scores are those of the authors' code, exp and tanh, where the paper writes softmax; the weights are "
        "those of the paper, the kept scores themselves, where the code subtracts the score at the cut and divides by "
        "the range, so that the entry at the cut weighs nothing. A "
        "negative score, of a delta against the sum of all, weighs nothing in either.",
        "The code takes all tensors of a model as one vector, clips the 1e-4 largest and smallest magnitudes before "
        "they are compared, and divides by 1e-12 where all weights are 0; here each tensor competes by itself, nothing "
        "is clipped, and where all weights are 0 the base stays.",
    ),
)
def pcb(deltas: Tensor, lambda_: float, statistics: Competition) -> Tensor:
    """Balance the competition: average the deltas, every entry weighed by its score, the low ones by nothing.

    Args:
        deltas: `[K, n]`, model minus base.
        lambda_: scale of the merged delta; the paper's best are near 1.2.
        statistics: range of the magnitudes and the last score that is kept, of every model.

    Returns:
        The merged delta, `[n]`.
    """
    found = statistics.found
    assert isinstance(found, tensors.Cut), "the passes come first"
    return tensors.mean_by_score(deltas, statistics.low, statistics.width, found.threshold) * lambda_
