"""The scores of PCB: how every entry of a delta competes, in its model and with those of the others."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cuvee.tensors.affine import per_model, weighted_sum
from cuvee.tensors.elementary import exp, tanh

_SLICE = 1 << 15
"""Entries that are scored at a time, so that what is worked out on the way stays in the cache."""


def competition_scores(deltas: Tensor, low: Tensor, width: Tensor) -> Tensor:
    """exp(K (m² − 1)) · tanh(δᵢ S) with m = (|δᵢ| − low)/width and S = Σ δⱼ, in the dtype of the deltas, `[K, n]`.

    The paper's scores divided by e^K, which changes no order and no share, and never overflows.

    Args:
        deltas: `[K, n]`.
        low: least magnitude of every delta in its whole tensor, `[K]`, float64.
        width: largest minus least, `[K]`, float64; infinite for m = 0.
    """
    return torch.cat([_scores(part, low, width).to(part.dtype) for part in _slices(deltas)], dim=1)


def mean_by_score(deltas: Tensor, low: Tensor, width: Tensor, least: Tensor) -> Tensor:
    """Σ βᵢ δᵢ / Σ βᵢ entry by entry, 0 where all βᵢ are 0; scores below `least`, or below 0, count as 0, `[n]`.

    Args:
        deltas: `[K, n]`.
        low: as for the scores.
        width: as for the scores.
        least: smallest score of every model that counts, `[K]`, in the dtype of the deltas.
    """
    return torch.cat([_mean(part, _scores(part, low, width), least) for part in _slices(deltas)])


def _slices(deltas: Tensor) -> Iterator[Tensor]:
    return (deltas[:, at : at + _SLICE] for at in range(0, deltas.shape[1], _SLICE))


def _mean(deltas: Tensor, scores: Tensor, least: Tensor) -> Tensor:
    # Compared in the dtype in which the least one was looked for.
    counts = scores.to(deltas.dtype) >= per_model(least, deltas)
    weights = scores.where(counts, scores.new_zeros(())).clamp_(min=0)  # a mean lies between what it is of
    divisor = weighted_sum(weights, [1.0] * len(weights))
    total = weighted_sum(deltas.double(), weights)
    return (total / divisor).where(divisor > 0, total.new_zeros(())).to(deltas.dtype)


def _scores(deltas: Tensor, low: Tensor, width: Tensor) -> Tensor:
    wide = deltas.double()
    total = weighted_sum(wide, [1.0] * len(wide))
    share = (wide.abs() - per_model(low.to(wide.device), wide)) / per_model(width.to(wide.device), wide)
    return exp((share * share - 1.0) * float(len(wide))) * tanh(wide * total)
