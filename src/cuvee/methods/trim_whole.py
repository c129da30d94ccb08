"""The surveys that find, for every model, the magnitude at which the density·n largest entries of it all end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.job import Job, Round, Survey
from cuvee.methods.largest import Prefix, held_for_largest, largest_first
from cuvee.methods.trim import entries_kept

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut


def trim_whole_first(job: Job, known: Prefix | Cut | None) -> Survey | None:
    """The next survey towards the `Cut` of every model, under which all entries equal to the threshold stay.

    Args:
        job: the model's.
        known: what the last survey concluded.
    """
    density = job.settings["density"]
    if isinstance(known, tensors.Cut) or bool((density >= 1).all()):
        return None
    wanted = known or Prefix(entries_kept(density, job.numel))
    # Tensors whose arithmetic is narrower than the widest one's are counted among the others.
    following = largest_first(job, wanted, lambda deltas, _start: deltas.to(job.dtype), edges=False)
    return Survey(Round(following.observe, lambda total, _job, _known: total), following.conclude)


def held_for_whole(numel: int, models: int, tile: int) -> int:
    """Bytes that a survey holds of a tensor at most: histograms, also of all tensors together."""
    return 2 * held_for_largest(numel, models - 1, tile)


def keep_whole(deltas: Tensor, cut: Cut | None) -> Tensor:
    """The deltas with all entries below the cut zeroed, compared in the dtype of the cut."""
    if cut is None:
        return deltas
    return tensors.keep_largest(deltas.to(cut.threshold.dtype), cut, 0).to(deltas.dtype)
