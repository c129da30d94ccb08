"""PEFT's combination types that work on A and on B separately, for whoever asks for them by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from cuvee.adapters.asked import Asked
from cuvee.checkpoint.adapter import Adapter
from cuvee.tensors import factor_by_factor as f
from cuvee.tensors.random import stream_key


def peft_factors(adapters: Sequence[Adapter], module: str, asked: Asked) -> tuple[Tensor, Tensor]:
    """B and A as PEFT's `add_weighted_adapter` makes them; what an adapter does not change it has no part in."""
    found = [(i, adapter, adapter.changes[module]) for i, adapter in enumerate(adapters) if module in adapter.changes]
    weights = [f.split_weight(asked.weights[i] * change.scale) for i, _, change in found]
    sides = []
    for side in (0, 1):
        values = [adapter.read((change.a, change.b)[side].name) for _, adapter, change in found]
        labels = [adapter.label for _, adapter, _ in found]
        sides.append(_combined(values, [pair[side] for pair in weights], labels, f"{module}.{'AB'[side]}", asked))
    return sides[1], sides[0]


def _combined(values: list[Tensor], weights: list[float], labels: list[str], name: str, asked: Asked) -> Tensor:
    kind = asked.method.removeprefix("peft-")
    density = float(asked.settings.get("density", 1.0))
    add = f.add_up_by_sign if kind in ("ties", "dare_ties") else f.add_up
    if kind == "linear":
        kept = values
    elif kind.startswith("dare"):
        keys = [stream_key(asked.seed, label, name) for label in labels]
        kept = [f.keep_drawn_share(x, density, key) for x, key in zip(values, keys, strict=True)]
    else:
        kept = list(map(partial(f.keep_largest_share, density=density), values)) if density < 1 else values
    return add(kept, weights)
