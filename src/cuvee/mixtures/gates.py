"""The rows of the routers: one vector for every layer and expert."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cuvee.errors import Fault, InputError
from cuvee.mixtures.model import Mixture
from cuvee.tensors.random import normal, stream_key, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.checkpoint.protocol import Reader


def gate_vectors(mixture: Mixture, base: Reader, layers: Sequence[int], width: int) -> Mapping[int, Tensor]:
    """The routers' weights.

    Args:
        mixture: what is asked.
        base: its base model, opened.
        layers: the layers that get a router.
        width: entries of a hidden state.

    Returns:
        For every layer, float32 `[len(mixture.gated), width]`.

    Raises:
        InputError: `bad-mixture`: routers that are to come from prompts.
    """
    if mixture.is_prompted:  # never random ones instead
        message = f"{base.label}: routers of `gate_mode: {mixture.gate_mode}` cannot be found"
        raise InputError(Fault("bad-mixture", message, subject=base.label, hint="set `gate_mode: random`"))
    return {layer: random_rows(mixture, layer, width) for layer in layers}


def random_rows(mixture: Mixture, layer: int, width: int) -> Tensor:
    """Random rows of one layer: N(0, 1), or uniform in [−1/√width, 1/√width), times `gate_scale`.

    They are functions of seed, layer, expert and position alone.
    """
    import torch

    rows = []
    for number in range(len(mixture.gated)):
        key = stream_key(mixture.seed, "gate", str(layer), str(number))
        if mixture.gate_mode == "uniform_random":
            rows.append((uniform(key, 0, width) * 2 - 1) / math.sqrt(width))
        else:
            rows.append(normal(key, 0, width))
    return torch.stack(rows) * mixture.gate_scale
