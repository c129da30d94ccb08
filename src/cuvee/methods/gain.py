"""What thinned deltas are multiplied with to have their old L1 norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.job import Job, Round, sums_held

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks, Cut


@dataclass(frozen=True)
class Trim:
    """The cut of every delta, `None` where no cut is made, and what its kept entries are multiplied with, `[K]`."""

    cut: Cut | None
    gain: Tensor | None = None


Thin = Callable[["Tensor", int, Job, "Cut | None"], "Tensor"]
"""`(deltas, start, job, cut) -> kept`: a tile of all deltas, and what stays of it."""


def gain_round(thin: Thin) -> Round:
    """The pass for the L1 norms, after the cut is known."""

    def norms(deltas: Tensor, start: int, job: Job, cut: Cut | None) -> Blocks:
        return _l1_norms(deltas, thin(deltas, start, job, cut), start)

    return Round(norms, _l1_gain)


def gain_if_asked(job: Job, known: Cut | Trim, thin: Thin) -> Round | None:
    """That pass, where the switch `rescale` is on and it was not made yet."""
    return gain_round(thin) if job.settings["rescale"] and not isinstance(known, Trim) else None


def held_for_gain(numel: int, models: int) -> int:
    """Bytes that the pass holds of a tensor: the sums of blocks of every delta, whole and thinned.

    Args:
        numel: elements of the tensor.
        models: tensors read, the base among them.
    """
    return sums_held(numel, 2 * (models - 1))


def regained(kept: Tensor, statistics: Cut | Trim | None) -> Tensor:
    """The kept entries times their gain, if there is one."""
    if not isinstance(statistics, Trim) or statistics.gain is None:
        return kept
    return kept * tensors.per_model(statistics.gain, kept)


def cut_in(statistics: Cut | Trim | None) -> Cut | None:
    """The cut among what the passes concluded."""
    return statistics.cut if isinstance(statistics, Trim) else statistics


def _l1_norms(deltas: Tensor, kept: Tensor, start: int) -> Blocks:
    """Σ|δ| of every model, then Σ|kept| of every model."""
    import torch

    return tensors.Blocks.of(torch.cat([deltas, kept]).abs().flatten(1), start)


def _l1_gain(total: Blocks, job: Job, cut: Cut | None) -> Trim:
    """Σ|δ| / Σ|kept|, and 1 where nothing was kept that could be scaled."""
    sums = total.total()
    half = len(sums) // 2
    gains = [before / after if after > 0 else 1.0 for before, after in zip(sums[:half], sums[half:], strict=True)]
    return Trim(cut, job.settings["weight"].new_tensor(gains).to(job.dtype))
