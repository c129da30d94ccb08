"""Arcee Fusion: take what matters most from the other model, by the size of a change and what it does to its row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round
from cuvee.methods.largest import Prefix, held_for_largest, largest_first
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks, Cut

QUARTERS: Final = (0.25, 0.5, 0.75)
_NARROW: Final = 32
"""Rows of fewer entries are so many that their divergences are taken anew in every pass, not kept."""


@dataclass(frozen=True)
class Known:
    """How far the quartiles of the importance are known; the divergence of every row, `None` where it is not kept."""

    quartiles: Prefix | Cut
    divergence: Tensor | None


def measure(job: Job, _done: int, known: Known | None) -> Round | None:
    """A pass for the divergence of every row, then those that find the quartiles of the importance."""
    if known is None and _length(job.shape) >= _NARROW:
        return Round(_divergence, lambda total, job, _known: _begin(job, total.joined()))
    known = known or _begin(job, None)
    return None if isinstance(known.quartiles, tensors.Cut) else _quartiles(job, known, known.quartiles)


def held(numel: int, _models: int, tile: int) -> int:
    """The histograms, the divergences of the rows, and the importance of a tile in float64, as numbers and as bits."""
    importance = 2 * 8 * min(tile, numel)
    return held_for_largest(numel, len(QUARTERS), tile) + 3 * 8 * (numel // _NARROW + 1) + importance


def _length(shape: tuple[int, ...]) -> int:
    """Entries along the last dimension, which are the rows that softmax is taken of."""
    return shape[-1] if shape else 1


def _divergence(stack: Tensor, start: int, job: Job, _known: Any) -> Blocks:
    base, other = stack.reshape(2, -1, _length(job.shape))
    return tensors.Blocks.at(start, tensors.divergences(other, base))


def _begin(job: Job, divergence: Tensor | None) -> Known:
    """Of n entries in ascending order, the quartile q is number ⌊q(n−1)⌋."""
    import torch

    return Known(Prefix(torch.tensor([job.numel - int(q * (job.numel - 1)) for q in QUARTERS])), divergence)


def _quartiles(job: Job, known: Known, prefix: Prefix) -> Round:
    """The next pass over the importance, in which all three quartiles are looked for."""
    import torch

    def rows(stack: Tensor, start: int) -> Tensor:
        found = importance(stack, start, _length(job.shape), known.divergence)
        return found.reshape(1, -1).expand(len(QUARTERS), -1)

    following = largest_first(replace(job, dtype=torch.float64), prefix, rows, edges=False)
    return Round(
        following.observe,
        lambda total, job, _known: replace(known, quartiles=following.conclude(total, job, prefix)),
    )


def importance(stack: Tensor, start: int, length: int, divergence: Tensor | None) -> Tensor:
    """|x − b| times the divergence of the row, `[rows, length]` in float64."""
    base, other = stack.reshape(2, -1, length).unbind()
    first = start // length
    of_rows = tensors.divergences(other, base) if divergence is None else divergence[first : first + len(base)]
    return (other - base).abs_().double().mul_(of_rows.unsqueeze(1))


@merge_method(
    family="gated",
    space="weight",
    scope="row",
    base="required",
    models=(1, 1),
    formula="I = |x − b| · KL(softmax x ‖ softmax b),  softmax and KL along each row (the last dimension)\n"
    "I₁, I₂, I₃ = the quartiles of I over the whole tensor, entries number ⌊q(n−1)⌋ in ascending order\n"
    "y = x where I ≥ I₂ + 1.5 (I₃ − I₁),   b elsewhere",
    measure=measure,
    holds=held,
    laws=("copies", "tiles", "seed", "finite"),
    cite=(Cite("Goddard et al. 2024, Arcee's MergeKit", arxiv="2403.13257"),),
    differs=(
        "Divergences and importance are worked out in float64. For ordinary fine-tunes the divergence of a row is "
        "about 4e-7, which mergekit's float32 knows to one digit and bfloat16 not at all: its choice of entries is "
        "then mostly rounding noise.",
        "mergekit adds 1e-8 to every share of a softmax; here nothing is added, and none is needed.",
        "The quartiles are those of all entries; mergekit takes a random sample of a million where there are more, "
        "without a seed by default.",
        "mergekit writes float32 whatever the dtype of the models, unless the recipe says otherwise; here the "
        "dtype is that of the models, as everywhere.",
    ),
)
def arcee_fusion(models: Tensor, start: int, shape: tuple[int, ...], statistics: Known) -> Tensor:
    """Take the entries of the other model that stand out by their importance, the base's elsewhere.

    Args:
        models: `[2, rows, width]`, the base first.
        start: first element of the tile.
        shape: of the whole tensor.
        statistics: quartiles of the importance, and divergences of the rows.

    Returns:
        As many entries, in rows along the last dimension.
    """
    import torch

    assert isinstance(statistics.quartiles, tensors.Cut), "the quartiles are found first"
    first, median, third = statistics.quartiles.threshold.tolist()
    base, other = models.reshape(2, -1, _length(shape))
    found = importance(models, start, _length(shape), statistics.divergence)
    return torch.where(found < median + 1.5 * (third - first), base, other)
