"""The passes that find, for every delta, the exact magnitude at which its density·n largest entries end.

The bits of a non-negative float order like its value, so the k-th largest is found digit by digit from histograms, with
no sort: two passes in float32 and four in float64, by digits of 16 bits; twice as many, by digits of 8 bits, where the
tensor has less than 2¹⁸ entries. One more pass counts the entries equal to the threshold, only when not all of them may
stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cuvee import tensors
from cuvee.methods.job import Job, Round

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks, Counts, Cut


WHOLE: Final = 1 << 17
"""Entries up to which the fused form looks at a tensor whole; of a larger one it takes a sample first."""
SAMPLE_RUN: Final = 2048
"""Entries in a row of a sample."""
_INSIDE_LIMIT: Final = 1 << 23
_INSIDE_SHARE: Final = 3
_SAMPLE_LIMIT: Final = 1 << 21
_BINS: Final = 1 << 16
_BLOCK: Final = 1 << 10


@dataclass(frozen=True)
class Prefix:
    """How far the thresholds are known.

    Attributes:
        digits: their higher digits, `[K]`.
        wanted: how many of the entries that share these digits are to be kept, `[K]`.
        sharing: how many entries share them, `[K]`.
        length: how many digits that is.
    """

    digits: Tensor
    wanted: Tensor
    sharing: Tensor
    length: int


def trim_first(job: Job, known: Prefix | Cut | None) -> Round | None:
    """The next pass towards the `Cut` of every delta; none at all when every density is 1."""
    if isinstance(known, tensors.Cut) or bool((job.settings["density"] >= 1).all()):
        return None
    if _length(known) < tensors.digits_in(job.dtype, tensors.digit_width(job.numel)):
        return Round(_count, _narrow)
    return Round(_count_equal, _share_out)


def _length(known: Prefix | None) -> int:
    return 0 if known is None else known.length


def held_for_cut(numel: int, models: int, tile: int) -> int:
    """Bytes that the passes hold of a tensor at most: histograms and counts of blocks, or a sample and its bracket."""
    deltas = models - 1
    heaps = max(numel // max(tile, 1), 1).bit_length() + 2
    plain = deltas * 8 * (heaps * _BINS + 3 * (numel // _BLOCK + 1))
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


def _count(stack: Tensor, _start: int, job: Job, known: Prefix | None) -> Counts:
    found = None if known is None else known.digits
    return tensors.digit_counts(stack, found, _length(known), tensors.digit_width(job.numel))


def _narrow(total: Counts, job: Job, known: Prefix | None) -> Prefix | Cut:
    """One digit more; after the last one the cut itself, if no entry equal to the threshold has to go."""
    wanted = known.wanted if known else entries_kept(job.settings["density"], job.numel)
    length = _length(known) + 1
    found = Prefix(*tensors.next_digit(total, None if known is None else known.digits, wanted), length)
    complete = length == tensors.digits_in(job.dtype, tensors.digit_width(job.numel))
    return _cut(found, job) if complete and bool((found.wanted == found.sharing).all()) else found


def _cut(found: Prefix, job: Job, edges: tuple[tuple[int, int], ...] | None = None) -> Cut:
    return tensors.Cut(tensors.magnitude_from_bits(found.digits, job.dtype), edges)


def _count_equal(stack: Tensor, start: int, _job: Job, known: Prefix) -> Blocks:
    return tensors.equal_counts(stack, known.digits, start)


def _share_out(total: Blocks, job: Job, known: Prefix) -> Cut:
    return _cut(known, job, tensors.edges_of(total.joined(), known.wanted))
