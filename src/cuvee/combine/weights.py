"""Weights that somebody gives: one for each member, finite, not negative, not all zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cuvee.combine.parts import Array
from cuvee.errors import Fault, listed, nearest, refuse

Weights = Sequence[float] | Mapping[str, float]
"""Weights in the order of the members, or by their names."""


def value_faults(weights: Weights) -> list[Fault]:
    """What is wrong with the numbers themselves; nothing for good ones."""
    named = weights.items() if isinstance(weights, Mapping) else enumerate(weights)
    wrong = [
        _fault(f"a weight must be a finite number of 0 or more; that of {key!r} is {value!r}")
        for key, value in named
        if not _is_weight(value)
    ]
    values = list(weights.values()) if isinstance(weights, Mapping) else list(weights)
    if not wrong and not any(values):
        wrong.append(_fault(f"weights must not all be 0; found {values!r}"))
    return wrong


def checked_weights(weights: Weights, members: Sequence[str]) -> Array:
    """The weights as an array in the order of the members, sum one.

    Args:
        weights: one for each member, ≥ 0, finite, not all 0.
        members: their names.

    Returns:
        `[M]`.

    Raises:
        UsageError: `bad-weights`, with everything that is wrong.

    Example:
        >>> checked_weights({"b": 1, "a": 3}, ["a", "b"]).tolist()
        [0.75, 0.25]
    """
    wrong = value_faults(weights)
    if isinstance(weights, Mapping):
        absent = [name for name in members if name not in weights]
        wrong += [
            _fault(f"the member {name!r} needs a weight; there are weights for {listed(weights, 5)}") for name in absent
        ]
        wrong += [
            _fault(f"a weight is given for {name!r}, which is no member", nearest(str(name), members))
            for name in weights
            if name not in members
        ]
    elif len(weights) != len(members):
        wrong.append(
            _fault(
                f"there must be a weight for each of {len(members)} members; found {len(weights)}",
                f"the members are {listed(members, 10)}",
            )
        )
    refuse(wrong)
    ordered = [weights[name] for name in members] if isinstance(weights, Mapping) else list(weights)
    found = np.array(ordered, np.float64)
    found /= found.max()  # the sum of very large ones would be no number
    share: Array = found / found.sum()
    return share


def _is_weight(value: object) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]


def _fault(message: str, hint: str | None = None) -> Fault:
    return Fault("bad-weights", message, subject="weights", hint=hint)
