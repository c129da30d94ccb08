"""Rounding to the dtype that is written: once, whatever the two dtypes."""

from __future__ import annotations

import torch
from torch import Tensor


def round_to(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The values in another dtype, each rounded to the nearest number there, ties to even.

    torch takes float64 to 16 bits by way of float32, and so rounds twice: 1 + 2⁻⁸ + 2⁻⁴⁰ becomes 1 in bfloat16. The
    float32 on the way is therefore rounded to odd, which never lands in the middle between two 16-bit numbers.

    Example:
        >>> import torch
        >>> x = torch.tensor([1 + 2**-8 + 2**-40], dtype=torch.float64)
        >>> x.to(torch.bfloat16).item(), round_to(x, torch.bfloat16).item()
        (1.0, 1.0078125)

    Reference:
        Boldo & Melquiond 2008, Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd.
    """
    if values.dtype == torch.float64 and dtype in (torch.bfloat16, torch.float16):
        values = round_to_odd(values)
    return values.to(dtype)


def round_to_odd(values: Tensor) -> Tensor:
    """float64 as float32: exact where it can be, else of the two neighbours the one whose last bit is 1."""
    near = values.float()
    back = near.double()
    settled = (back == values) | ~near.isfinite() | ((near.view(torch.int32) & 1) == 1)
    beyond = torch.where(values > back, torch.inf, -torch.inf).float()
    return torch.where(settled, near, near.nextafter(beyond))
