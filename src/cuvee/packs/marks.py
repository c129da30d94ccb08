"""Which entries of the merged delta a task keeps, and what it multiplies them with.

agree (EMR):   Mᵢ = [τᵢ τ > 0],  λᵢ = Σ|τᵢ| / Σ|Mᵢ τ|, both sums over the whole model
tall:          mᵢ = [|τᵢ| > λ |τ − τᵢ|], and no rescaling
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cuvee.tensors import Blocks, Counts
from cuvee.types import Cite

MaskKind = Literal["agree", "tall"]

CITES = {
    "agree": Cite("Huang et al. 2024, EMR-Merging: tuning-free high-performance model merging", arxiv="2405.17461"),
    "tall": Cite(
        "Wang et al. 2024, Localizing task information for improved model merging and compression (TALL masks)",
        arxiv="2405.07813",
    ),
}


@dataclass(frozen=True, slots=True)
class Masks:
    """How masks are made.

    Attributes:
        kind: `agree` or `tall`.
        lambda_: of `tall`, ≥ 0: how much larger than the rest a task's own delta must be; more keeps less.
    """

    kind: MaskKind
    lambda_: float = 0.4

    def of(self, delta: Tensor, merged: Tensor) -> Tensor:
        """The entries that one task keeps.

        Args:
            delta: the task's own delta, `[n]`.
            merged: the merged delta as it is stored, `[n]`, in the same dtype.

        Returns:
            `[n]`, booleans.
        """
        if self.kind == "agree":
            return delta.sign() * merged.sign() > 0  # not the product of the deltas, which may vanish
        return delta.abs() > (merged - delta).abs() * self.lambda_


@dataclass(frozen=True)
class Found:
    """What is found out about tiles of one tensor: adds up to the same bytes in any order.

    Attributes:
        sums: Σ|τᵢ| of every task, then Σ|Mᵢ τ| of every task.
        kept: entries that every task keeps.
    """

    sums: Blocks
    kept: Counts

    def __add__(self, other: Found) -> Found:
        """What is found out about both."""
        return Found(self.sums + other.sums, self.kept + other.kept)

    @staticmethod
    def of(deltas: Tensor, merged: Tensor, marks: Sequence[Tensor], start: int) -> Found:
        """What is found out about one tile.

        Args:
            deltas: `[K, n]`.
            merged: the merged delta, `[n]`.
            marks: the K masks, `[n]` each.
            start: the tile's first element.
        """
        size = merged.abs()
        rows = [*deltas.abs(), *(size * mark for mark in marks)]
        sums = torch.cat([next(iter(Blocks.of(row, start).parts.values())).unsqueeze(0) for row in rows])
        return Found(Blocks.at(start, sums), Counts(torch.stack([mark.sum() for mark in marks])))


@dataclass(frozen=True, slots=True)
class Totals:
    """What is found out about one whole tensor: the two sums of every task, and the entries it keeps."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    kept: tuple[int, ...]

    @staticmethod
    def of(found: Found) -> Totals:
        """The totals of all tiles of a tensor."""
        sums = found.sums.total()
        half = len(sums) // 2
        return Totals(tuple(sums[:half]), tuple(sums[half:]), tuple(int(n) for n in found.kept.values))


def rescalers(masks: Masks, totals: Sequence[Totals], tasks: int) -> list[float]:
    """What every task multiplies its masked delta with: 0 where its mask is empty, 1 for masks without rescaling."""
    if masks.kind != "agree":
        return [1.0] * tasks
    before = [math.fsum(one.before[i] for one in totals) for i in range(tasks)]
    after = [math.fsum(one.after[i] for one in totals) for i in range(tasks)]
    return [b / a if a > 0.0 else 0.0 for b, a in zip(before, after, strict=True)]
