"""The scores of PCB: how every entry of a delta competes, in its model and with those of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from cuvee.tensors.affine import per_model, weighted_sum
from cuvee.tensors.elementary import exp, tanh

_SLICE = 1 << 15


def competition_scores(deltas: Tensor, low: Tensor, width: Tensor) -> Tensor:
    """exp(K (m² − 1)) · tanh(δᵢ S) with m = (|δᵢ| − low)/width and S = Σ δⱼ, `[K, n]`, float64.

    The paper's scores divided by e^K, which changes no order and no share, and never overflows. Made slice by slice, so
    that what is worked out on the way stays in the cache.

    Args:
        deltas: `[K, n]`.
        low: least magnitude of every delta in its whole tensor, `[K]`, float64.
        width: largest minus least, `[K]`, float64; infinite for m = 0.
    """
    low, width = (per_model(values.to(deltas.device), deltas) for values in (low, width))
    pieces = [_scores(deltas[:, at : at + _SLICE].double(), low, width) for at in range(0, deltas.shape[1], _SLICE)]
    return torch.cat(pieces, dim=1)


def _scores(wide: Tensor, low: Tensor, width: Tensor) -> Tensor:
    total = weighted_sum(wide, [1.0] * len(wide))
    share = (wide.abs() - low) / width
    return exp((share * share - 1.0) * float(len(wide))) * tanh(wide * total)
