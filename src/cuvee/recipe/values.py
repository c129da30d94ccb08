"""What a setting comes to for one tensor: filters, gradients over the layers, and the order of the levels.

    layer i of n (in its output slice)   t = i / (n - 1), and 1 where n = 1
    gradient v[0..m-1] at t              s = t (m - 1);  v[⌊s⌋] + (s - ⌊s⌋) (v[⌊s⌋ + 1] - v[⌊s⌋])

Tensors that belong to no layer (embeddings, final norm, head) take t = 0, before and after the layers alike: mergekit
does so, hence the head gets a gradient's *first* value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from cuvee.recipe.model import Conditions, Gradient, Parameters, Setting
from cuvee.types import Scalar

Kind = Literal["float", "int", "bool", "choice"]

EVERY_NAME: Final = (None, "", "*")
"""Filters that hold for every tensor."""

# i / (n - 1) * (m - 1) may fall short of a whole number by a few roundings; a switch must not step one layer late.
_ROUNDING: Final = 1e-9


def layer_position(index: int, layers: int) -> float:
    """Position of a layer in its output slice, 0 at the first and 1 at the last; 1 where there is only one.

    Args:
        index: number of the layer within its output slice, `0 … layers - 1`.
        layers: number of layers of the slice, at least 1.

    Example:
        >>> [layer_position(i, 3) for i in range(3)], layer_position(0, 1)
        ([0.0, 0.5, 1.0], 1.0)
    """
    return index / (layers - 1) if layers > 1 else 1.0


def interpolate(gradient: Gradient, t: float, kind: Kind = "float") -> Scalar:
    """The value of a gradient at a position.

    Args:
        gradient: at least one value.
        t: position, [0, 1].
        kind: `float` interpolates linearly between neighbours; every other kind steps to the nearest value below, as
            do texts and switches whatever the kind.

    Example:
        >>> interpolate((0.0, 1.0, 0.0), 0.25), interpolate((True, False), 0.99, "bool")
        (0.5, True)
    """
    s = t * (len(gradient) - 1)
    below = min(math.floor(s + _ROUNDING), len(gradient) - 1)
    low, high = gradient[below], gradient[min(below + 1, len(gradient) - 1)]
    if kind != "float" or isinstance(low, bool | str) or isinstance(high, bool | str):
        return low
    return low + max(s - below, 0.0) * (high - low)


def resolve(
    param_name: str, levels: Sequence[Parameters], tensor_name: str, t: float, kind: Kind = "float"
) -> Scalar | None:
    """The value of a parameter for one tensor: the first level that has one for it wins.

    Args:
        param_name: the parameter as the recipe writes it, e.g. `lambda`.
        levels: parameters of the model's entry, of its slice, of its module, of the recipe, as far as they apply, in
            this order.
        tensor_name: name of the input tensor for a model's own parameter, of the output tensor for a shared one.
        t: position of the tensor's layer (`layer_position`), 0 for a tensor of no layer.
        kind: kind of the parameter.

    Returns:
        The value as `kind`, or `None` where no level has one: then the parameter's default holds.
    """
    for parameters in levels:
        if param_name in parameters:
            value = matching(parameters[param_name], tensor_name)
            if value is not None:
                return _as_kind(interpolate(value, t, kind) if isinstance(value, tuple) else value, kind)
    return None


def matching(setting: Setting, tensor_name: str) -> Scalar | Gradient | None:
    """The part of a setting that holds for a tensor; of filtered values the first whose filter is in the name."""
    if not isinstance(setting, Conditions):
        return setting
    for branch in setting.branches:
        if branch.filter in EVERY_NAME or str(branch.filter) in tensor_name:
            return branch.value
    return None


def _as_kind(value: Scalar, kind: Kind) -> Scalar:
    """The value as its parameter's type: a `1` is 1.0 for a number and true for a switch."""
    if isinstance(value, str) or kind == "choice":
        return value
    if kind == "float":
        return float(value)
    return bool(value) if kind == "bool" else int(value)
