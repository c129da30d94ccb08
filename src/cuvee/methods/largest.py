"""The passes that find where the k largest entries of a row end, exactly and without a sort.

The row may be anything that is computed from a tile entry by entry and is not negative where it matters: the bits of a
non-negative float order like its value, so the k-th largest is found digit by digit from histograms: two passes in
float32 and four in float64, by digits of 16 bits; twice as many, by digits of 8 bits, where the tensor has less than
2¹⁸ entries. One more pass counts the entries equal to the threshold, only when not all of them may stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cuvee import tensors
from cuvee.methods.job import Job, Round

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks, Counts, Cut

_BINS: Final = 1 << 16
_BLOCK: Final = 1 << 10


@dataclass(frozen=True)
class Prefix:
    """How far the thresholds are known.

    Attributes:
        wanted: how many of the entries that share the digits known are to be kept, `[R]`, at least 1.
        digits: the higher digits of the thresholds, `[R]`; `None` before the first pass.
        sharing: how many entries share them, `[R]`.
        length: how many digits that is.
    """

    wanted: Tensor
    digits: Tensor | None = None
    sharing: Tensor | None = None
    length: int = 0


Derive = Callable[["Tensor", int], "Tensor"]
"""`(stack, start) -> [R, n]`: the rows whose largest entries are looked for; their signs are not looked at."""


def largest_first(job: Job, known: Prefix, derive: Derive, *, edges: bool = True) -> Round:
    """The next pass towards the `Cut` of every row, which is what the last one concludes.

    Args:
        job: the tensor; its dtype is that of the rows.
        known: what the last pass concluded; `Prefix(wanted)` to begin with.
        derive: the rows.
        edges: whether it matters which of the entries equal to the threshold stay.
    """
    if known.length < _digits(job):
        return Round(
            lambda stack, start, _job, _known: _count(derive(stack, start), job, known),
            lambda total, _job, _known: _narrow(total, job, known, edges),
        )
    return Round(
        lambda stack, start, _job, _known: _count_equal(derive(stack, start), start, known),
        lambda total, _job, _known: _cut(known, job, tensors.edges_of(total.joined(), known.wanted)),
    )


def held_for_largest(numel: int, rows: int, tile: int) -> int:
    """Bytes that the passes hold of a tensor at most: histograms and counts of blocks."""
    heaps = max(numel // max(tile, 1), 1).bit_length() + 2
    return rows * 8 * (heaps * _BINS + 3 * (numel // _BLOCK + 1))


def _digits(job: Job) -> int:
    return tensors.digits_in(job.dtype, tensors.digit_width(job.numel))


def _count(rows: Tensor, job: Job, known: Prefix) -> Counts:
    return tensors.digit_counts(rows, known.digits, known.length, tensors.digit_width(job.numel))


def _narrow(total: Counts, job: Job, known: Prefix, edges: bool) -> Prefix | Cut:
    """One digit more; after the last one the cut itself, if no entry equal to the threshold has to go."""
    digits, wanted, sharing = tensors.next_digit(total, known.digits, known.wanted)
    found = Prefix(wanted, digits, sharing, known.length + 1)
    complete = found.length == _digits(job)
    return _cut(found, job) if complete and not (edges and bool((wanted != sharing).any())) else found


def _count_equal(rows: Tensor, start: int, known: Prefix) -> Blocks:
    assert known.digits is not None, "the digits are found first"
    return tensors.equal_counts(rows, known.digits, start)


def _cut(found: Prefix, job: Job, edges: Any = None) -> Cut:
    assert found.digits is not None, "the digits are found first"
    return tensors.Cut(tensors.magnitude_from_bits(found.digits, job.dtype), edges)
