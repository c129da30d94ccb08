"""The passes that find, for every delta, the exact magnitude at which its density·n largest entries end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cuvee import tensors
from cuvee.methods.job import Job, Round
from cuvee.methods.largest import Prefix, held_for_largest, largest_first

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut


WHOLE: Final = 1 << 17
"""Entries up to which the fused form looks at a tensor whole; of a larger one it takes a sample first."""
SAMPLE_RUN: Final = 2048
"""Entries in a row of a sample."""
_INSIDE_LIMIT: Final = 1 << 23
_INSIDE_SHARE: Final = 3
_SAMPLE_LIMIT: Final = 1 << 21


def trim_first(job: Job, known: Prefix | Cut | None) -> Round | None:
    """The next pass towards the `Cut` of every delta; none at all when every density is 1."""
    density = job.settings["density"]
    if isinstance(known, tensors.Cut) or bool((density >= 1).all()):
        return None
    return largest_first(job, known or Prefix(entries_kept(density, job.numel)), lambda deltas, _start: deltas)


def held_for_cut(numel: int, models: int, tile: int) -> int:
    """Bytes that the passes hold of a tensor at most: histograms and counts of blocks, or a sample and its bracket."""
    deltas = models - 1
    plain = held_for_largest(numel, deltas, tile)
    selecting = inside_limit(numel) * (8 * deltas + 6)
    if numel <= WHOLE:
        return max(plain, selecting)
    sampled = sample_runs(numel) * SAMPLE_RUN
    # The rows of the sample stay with the worker; their magnitudes are gone before anything is selected.
    return max(plain, selecting, sampled * (8 * deltas + 6)) + sampled * 6 * models


def inside_limit(numel: int) -> int:
    """Entries of one delta that the fused form keeps at most, to select the threshold from."""
    return min(_INSIDE_LIMIT, max(numel // _INSIDE_SHARE, min(numel, WHOLE)))


def sample_runs(numel: int) -> int:
    """How many runs of `SAMPLE_RUN` entries the sample of a tensor has that is larger than `WHOLE`.

    8 to 32, which cost little of the time of a pass; and so many in a very large tensor, up to 1024, that a bracket
    narrow enough for what may be kept is still wide enough for the error of the sample.
    """
    return max(min(max(numel >> 17, 8), 32), min(numel >> 21, _SAMPLE_LIMIT // SAMPLE_RUN))


def entries_kept(density: Tensor, numel: int) -> Tensor:
    """⌊density · n⌋ but at least 1, per model, `[K]`."""
    return density.new_tensor([max(1, int(d * numel)) for d in density.tolist()]).long()
