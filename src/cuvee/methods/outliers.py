"""The passes that find, for every delta, where its largest entries end and where those that are kept do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.job import Job, Round
from cuvee.methods.largest import Prefix, held_for_largest, largest_first
from cuvee.types import Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut

GAMMA = Param(
    "gamma",
    "float",
    "fraction of this model's delta that is dropped as too large, counted per tensor; less where 1 − density is less",
    default=0.01,
    per_model=True,
    low=0.0,
    high=1.0,
    high_open=True,
)


def outliers_first(job: Job, known: Prefix | Cut | None) -> Round | None:
    """The next pass towards both cuts of every delta; none at all when every density is 1."""
    density, gamma = job.settings["density"], job.settings["gamma"]
    if isinstance(known, tensors.Cut) or bool((density >= 1).all()):
        return None
    ends = entries_until(density, gamma, job.numel)
    following = largest_first(job, known or Prefix(ends.clamp(min=1)), lambda deltas, _start: deltas.repeat(2, 1))
    return Round(following.observe, lambda total, job, known: _opened(following.conclude(total, job, known), ends))


def held_for_outliers(numel: int, models: int, tile: int) -> int:
    """Bytes that the passes hold of a tensor at most."""
    return held_for_largest(numel, 2 * (models - 1), tile)


def entries_until(density: Tensor, gamma: Tensor, numel: int) -> Tensor:
    """How many of the largest entries there are down to the last one kept, then down to the last outlier, `[2K]`."""
    target = [int(d * numel) for d in density.tolist()]
    top = [min(int(g * numel), numel - kept) for g, kept in zip(gamma.tolist(), target, strict=True)]
    return density.new_tensor([*(map(sum, zip(target, top, strict=True))), *top]).long()


def _opened(found: Prefix | Cut, ends: Tensor) -> Prefix | Cut:
    """A cut that nothing reaches where there is no entry to look for."""
    if not isinstance(found, tensors.Cut):
        return found
    return tensors.Cut(found.threshold.masked_fill(ends == 0, math.inf), found.edges)
