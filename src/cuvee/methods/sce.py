"""SCE: select the entries on which the models differ most, calculate weights from them, erase minority signs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, sums_held
from cuvee.methods.largest import Prefix, held_for_largest, largest_first
from cuvee.methods.params import INT8_MASK
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks, Counts, Cut

SELECT_TOPK = Param(
    "select_topk",
    "float",
    "fraction of the entries on which the models differ that is kept, those of largest variance; 1 keeps all",
    default=1.0,
    low=0.0,
    high=1.0,
)


@dataclass(frozen=True)
class Calculated:
    """The cut of the variances, `None` where all entries stay, and the share of every model."""

    cut: Cut | None
    shares: tuple[float, ...]


def measure(job: Job, _done: int, known: Any) -> Round | None:
    """The passes for the cut of the variances, unless all entries stay, then one for the shares."""
    if isinstance(known, Calculated):
        return None
    if isinstance(known, tensors.Cut) or job.settings["select_topk"] >= 1:
        return Round(_squares, _shares)
    if isinstance(known, Prefix):
        return largest_first(job, known, lambda deltas, _start: tensors.spread(deltas))
    return Round(_count_varied, _wanted)


def held(numel: int, models: int, tile: int) -> int:
    """What the search for the cut holds, or the sums of squares."""
    return max(held_for_largest(numel, 1, tile), sums_held(numel, models - 1))


def select(deltas: Tensor, cut: Cut | None, start: int) -> Tensor:
    """Zero, in all deltas, the entries whose variance is below the cut."""
    return deltas if cut is None else tensors.keep_where(deltas, tensors.cut_margin(tensors.spread(deltas), cut, start))


def _count_varied(deltas: Tensor, _start: int, _job: Job, _known: Any) -> Counts:
    """Entries on which the models agree, and on which they differ, `[2]`."""
    import torch

    return tensors.Counts(torch.bincount(tensors.magnitude_bits(tensors.spread(deltas))[0].clamp_(max=1), minlength=2))


def _wanted(total: Counts, job: Job, _known: Any) -> Prefix | Cut:
    """How many of them are kept; where that is none, the cut above everything."""
    kept = int(job.settings["select_topk"] * int(total.values[1]))
    if kept == 0:
        return tensors.Cut(total.values.new_full((1,), math.inf, dtype=job.dtype))
    return Prefix(total.values.new_full((1,), kept))


def _squares(deltas: Tensor, start: int, _job: Job, cut: Cut | None) -> Blocks:
    return tensors.square_blocks(select(deltas, cut, start), start)


def _shares(total: Blocks, _job: Job, cut: Cut | None) -> Calculated:
    """Σ δ̂ᵢ² as shares of their sum; all the same where that is 0 or no number."""
    sums = total.total()
    whole = math.fsum(sums) if all(map(math.isfinite, sums)) else 0.0
    return Calculated(cut, tuple(s / whole if whole > 0 else 1.0 / len(sums) for s in sums))


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(1, None),
    formula="v = variance of δᵢ over the models, entry by entry\n"
    "δ̂ᵢ = the entries of δᵢ where v is among the ⌊select_topk · #(v > 0)⌋ largest      (1 → all entries)\n"
    "ωᵢ = mean(δ̂ᵢ²) / Σ mean(δ̂ⱼ²), per tensor;   1/K where all are 0\n"
    "γ = sign(Σ δ̂ᵢ), 0 counting as +1;   Aᵢ = [sign(δ̂ᵢ) = γ]\n"
    "y = b + Σ Aᵢ ωᵢ δ̂ᵢ / Σ Aᵢ ωᵢ",
    params=(SELECT_TOPK, INT8_MASK),
    measure=measure,
    holds=held,
    laws=("identity", "copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Wan et al. 2024, FuseChat: knowledge fusion of chat models", arxiv="2408.07990"),),
    differs=(
        "mergekit weighs all models the same where the mean squares of a tensor sum to less than 1e-6, as those of "
        "ordinary fine-tunes do (a change of 5e-4 in the mean); here only where they are exactly 0.",
        "mergekit divides by no less than 1e-6; here by what the models that agree weigh.",
        "Entries of equal variance at the cut: mergekit keeps whichever its sort leaves first, Cuvee the first by "
        "position. The variance is taken in float64 and its root compared in the dtype of the arithmetic; mergekit "
        "takes it in the dtype of the models.",
        "As in mergekit, a select_topk below 1 counts the entries on which models differ, so that one model alone, "
        "or equal ones, leave the base.",
    ),
)
def sce(deltas: Tensor, start: int, statistics: Calculated) -> Tensor:
    """Select, calculate, erase: average the selected deltas that agree, each model weighed by its mean square.

    Args:
        deltas: `[K, n]`, model minus base.
        start: first element of the tile.
        statistics: the cut of the variances and the share of every model.

    Returns:
        The merged delta, `[n]`.
    """
    kept = select(deltas, statistics.cut, start)
    agrees = tensors.agreement(kept)
    total = tensors.weighted_sum(kept * agrees, statistics.shares)
    return total / tensors.agreeing_weight(statistics.shares, agrees)
