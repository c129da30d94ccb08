"""Recipes in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.peers.models import LAYERS

Recipe = dict[str, Any]


def mean_of(*models: str, **more: Any) -> Recipe:
    """The plain average."""
    listed = [{"model": m, "parameters": {"weight": 1}} for m in models]
    return {"merge_method": "linear", "models": listed, **more}


def deltas_of(method: str, base: str, models: Mapping[str, Mapping[str, Any]], **more: Any) -> Recipe:
    """Models with their parameters, beside a base."""
    listed = [{"model": m, "parameters": dict(p)} for m, p in models.items()]
    return {"merge_method": method, "base_model": base, "models": listed, **more}


def stack_of(model: str) -> Recipe:
    """A model's layers but the last, then its layers but the first."""
    slices = [{"sources": [{"model": model, "layer_range": r}]} for r in ([0, LAYERS - 1], [1, LAYERS])]
    return {"merge_method": "passthrough", "slices": slices}


def slerp_of(base: str, other: str, **parameters: Any) -> Recipe:
    """From the base towards another model."""
    return {"merge_method": "slerp", "base_model": base, "models": [{"model": other}], "parameters": parameters}
