"""RAM+: average every entry over the models that changed it, and strengthen what one model alone changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round
from cuvee.methods.ram import EPSILON, RAM, changes
from cuvee.types import Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Counts

R = Param("r", "float", "how much a lone change is strengthened per unit of overlap", default=0.1)
ALPHA = Param("alpha", "float", "overlap that counts at most", default=0.2, low=0.0)


def count_changes(deltas: Tensor, _start: int, job: Job, _known: Any) -> Counts:
    """How many entries of a tile every model left, changed alone, and changed together with others, `[K, 3]`."""
    import torch

    kept = tensors.keep_above(deltas, job.settings["epsilon"])
    kinds = kept.sign().abs_() * changes(kept).clamp_(max=2)
    return tensors.Counts(torch.stack([torch.bincount(row, minlength=3) for row in kinds.long()]))


def gains(total: Counts, job: Job, _known: Any) -> tuple[float, ...]:
    """λ − 1 of every model; 0 where there is no lone change to be strengthened."""
    r, alpha = job.settings["r"], job.settings["alpha"]
    return tuple(r * min(shared / lone, alpha) if lone else 0.0 for _, lone, shared in total.values.tolist())


def overlap_first(_job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the overlap of every model with the others."""
    return Round(count_changes, gains) if done == 0 else None


@merge_method(
    family="gated",
    space="delta",
    scope="element",
    base="required",
    models=(1, None),
    formula="Aᵢ = [|δᵢ| > epsilon];   c = Σ Aᵢ, the number of models that changed an entry\n"
    "ρᵢ = #(Aᵢ and c > 1) / #(Aᵢ and c = 1), per tensor;   λᵢ = 1 + r min(ρᵢ, alpha)\n"
    "y = b + Σ Aᵢ δᵢ / c     where c > 1\n"
    "y = b + Σ Aᵢ λᵢ δᵢ       where c = 1\n"
    "y = b                   where c = 0",
    params=(EPSILON, R, ALPHA),
    measure=overlap_first,
    laws=("permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(RAM,),
    differs=(
        "mergekit compares and averages in the dtype of the models; here in float32 or wider.",
        "mergekit writes float32 whatever the dtype of the models, unless the recipe says otherwise; here the dtype is "
        "that of the models, as everywhere.",
        "An alpha below 0 is refused.",
    ),
)
def ramplus_tl(deltas: Tensor, epsilon: float, statistics: tuple[float, ...]) -> Tensor:
    """Average shared changes entry by entry, and strengthen the lone ones of a model by its overlap with the others.

    Args:
        deltas: `[K, n]`, model minus base.
        epsilon: magnitude above which an entry counts as changed.
        statistics: λ − 1 of every model.

    Returns:
        The merged delta, `[n]`.
    """
    kept = tensors.keep_above(deltas, epsilon)
    count = changes(kept)
    mean = tensors.weighted_sum(kept, [1.0] * len(kept)) / count.clamp(min=1)
    return mean + tensors.weighted_sum(kept, statistics) * only_one(count)


def only_one(count: Tensor) -> Tensor:
    """1 where a count is 1, else 0; as arithmetic, which torch does many entries at a time."""
    return (1 - (count - 1).abs_()).clamp_(min=0)
