"""Weights that are a setting of a combiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cuvee.combine import Weights, value_faults
from cuvee.errors import Fault


def given_faults(weights: object) -> list[Fault]:
    """What is wrong with weights as they were given, before the members are known; nothing without any."""
    weights = _plain(weights)
    if weights is None:
        return []
    if isinstance(weights, str) or not isinstance(weights, Mapping | Sequence):
        message = (
            f"`weights` must be numbers in the order of the members, or a mapping of their names; found {weights!r}"
        )
        return [Fault("bad-weights", message, subject="weights")]
    return value_faults(weights)


def frozen_weights(weights: Weights | None) -> Weights | None:
    """The same as a tuple or a mapping of their own: what JSON gives back as a list is the same setting."""
    weights = _plain(weights)
    if weights is None:
        return None
    return dict(weights) if isinstance(weights, Mapping) else tuple(weights)


def _plain(weights: Any) -> Any:
    return weights.tolist() if isinstance(weights, np.ndarray) else weights
