"""Exponential and hyperbolic tangent of products and sums only: the same bits for any tile, processor or device.

What torch takes from a library of the processor may differ by where in a row an entry stands. Both are in float64, and
right to a few units of its last digit.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
"""log 2 in two parts, the first of few enough digits that its multiples are exact."""
_TERMS: Final = 14
_SMALL: Final = 0.35
_SATURATED: Final = 20.0


def exp(x: Tensor) -> Tensor:
    """eˣ of float64; what is below e^−708 counts as that.

    Args:
        x: at most 709.
    """
    x = x.clamp(min=-708.0)
    power = (x * (1.0 / math.log(2.0)) + 0.5).floor()
    rest = x - power * _LN2_HIGH - power * _LN2_LOW  # at most log 2 / 2
    scale = ((power.long() + 1023) << 52).view(torch.float64)
    return (_grown(rest) + 1.0) * scale


def tanh(x: Tensor) -> Tensor:
    """Tanh x of float64, exact to the last digits also where x is small."""
    twice = x.abs().clamp(max=_SATURATED) * 2.0
    grown = torch.where(twice < _SMALL, _grown(twice.clamp(max=_SMALL)), exp(twice) - 1.0)
    return grown / (grown + 2.0) * x.sign()


def _grown(x: Tensor) -> Tensor:
    """eˣ − 1 of small numbers: x (1 + x/2 (1 + x/3 (…)))."""
    total = torch.ones_like(x)
    for n in range(_TERMS, 1, -1):
        total = total * (x * (1.0 / n)) + 1.0
    return total * x
