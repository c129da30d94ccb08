"""Squared norms of all models and squared distances between them, tensor by tensor: one pass over the sample.

Everything about task vectors but their signs follows from distances, whichever model is taken for the base:

    ⟨xᵢ − b, xⱼ − b⟩ = (‖xᵢ − b‖² + ‖xⱼ − b‖² − ‖xᵢ − xⱼ‖²) / 2

Distances are summed as such and not as differences of norms, so that a small change keeps all its digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.preflight.sample import Share, stack

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TensorSums:
    """One tensor's sums over its sample; arrays are over all models, zero where a model does not have it.

    Attributes:
        share: what was read.
        square: squared norms, `[K]`.
        distance: squared distances, `[K, K]`.
        equal: entries that two models have in common, `[K, K]`.
        zeros: entries that are zero, `[K]`.
        nonfinite: entries that are NaN or infinite, which count as zero, `[K]`.
    """

    share: Share
    square: Numbers
    distance: Numbers
    equal: Numbers
    zeros: Numbers
    nonfinite: Numbers

    @property
    def scale(self) -> float:
        """Entries of the tensor to each that was read."""
        return self.share.numel / self.share.entries

    def cosine(self, a: int, b: int) -> float | None:
        """Of the two models in this tensor."""
        return _cosine(self.square[a], self.square[b], self.distance[a, b])


@dataclass(frozen=True)
class Added:
    """Sums over the tensors that some models all have, each as large as if it had been read whole."""

    square: Numbers
    distance: Numbers
    equal: Numbers
    entries: float
    tensors: int

    def cosine(self, a: int = 0, b: int = 1) -> float | None:
        """Cosine between two of the models, by their places among these."""
        return _cosine(self.square[a], self.square[b], self.distance[a, b])

    def relative(self, a: int = 0, b: int = 1) -> float | None:
        """‖a − b‖ / ‖b‖."""
        return math.sqrt(self.distance[a, b] / self.square[b]) if self.square[b] > 0 else None

    def task_cosine(self, a: int = 0, b: int = 1, base: int = 2) -> float | None:
        """Cosine between a − base and b − base."""
        return _cosine(self.distance[a, base], self.distance[b, base], self.distance[a, b])


def _cosine(aa: float, bb: float, apart: float) -> float | None:
    norms = math.sqrt(aa) * math.sqrt(bb)
    return max(-1.0, min(1.0, float((aa + bb - apart) / 2 / norms))) if norms > 0 else None


def sums_of(readers: Sequence[Reader], shares: Sequence[Share], seen: Callable[[], None]) -> tuple[TensorSums, ...]:
    """Read the sample and add it up; `seen` is called after each tensor."""
    found = []
    for share in shares:
        found.append(_tensor(readers, share))
        seen()
    return tuple(found)


def _tensor(readers: Sequence[Reader], share: Share) -> TensorSums:
    count, where = len(readers), list(share.holders)
    made = TensorSums(share, *(np.zeros(s) for s in ((count,), (count, count), (count, count), (count,), (count,))))
    for runs in share.pieces():
        values = stack(readers, share, where, runs)
        finite = values.isfinite()
        made.nonfinite[where] += (~finite).sum(1).numpy()
        values = torch.where(finite, values, 0.0)
        made.square[where] += values.square().sum(1).numpy()
        made.zeros[where] += (values == 0).sum(1).numpy()
        _pairs(made, where, values)
    return made


def _pairs(made: TensorSums, where: Sequence[int], values: Tensor) -> None:
    for i, a in enumerate(where):
        for j in range(i + 1, len(where)):
            apart = values[i] - values[j]
            squared, same = float(apart @ apart), int((apart == 0).sum())
            for place in ((a, where[j]), (where[j], a)):
                made.distance[place] += squared
                made.equal[place] += same


def added(sums: Iterable[TensorSums], models: Sequence[int], *, matrices: bool = False) -> Added:
    """The sums of all tensors that every one of these models has; with `matrices`, of those that have rows."""
    wanted, at = set(models), np.ix_(models, models)
    chosen = [s for s in sums if wanted <= set(s.share.holders) and (s.share.is_matrix or not matrices)]
    size = len(models)

    def total(part: Callable[[TensorSums], Any], shape: tuple[int, ...]) -> Numbers:
        return np.sum([part(s) * s.scale for s in chosen], axis=0) if chosen else np.zeros(shape)

    return Added(
        square=total(lambda s: s.square[list(models)], (size,)),
        distance=total(lambda s: s.distance[at], (size, size)),
        equal=total(lambda s: s.equal[at], (size, size)),
        entries=float(sum(s.share.numel for s in chosen)),
        tensors=len(chosen),
    )


def zero_share(sums: Iterable[TensorSums], model: int) -> float:
    """Share of a model's matrix entries that are exactly zero."""
    own = [s for s in sums if model in s.share.holders and s.share.is_matrix]
    entries = sum(s.share.numel for s in own)
    return float(sum(s.zeros[model] * s.scale for s in own)) / entries if entries else 0.0


def by_layer(sums: Iterable[TensorSums]) -> dict[str, list[TensorSums]]:
    """The tensors of every layer, in order."""
    groups: dict[str, list[TensorSums]] = {}
    for one in sums:
        groups.setdefault(one.share.layer, []).append(one)
    return groups
