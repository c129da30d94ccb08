"""Yes or no for every entry of a tensor, eight to a byte."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def pack_bits(marks: Tensor) -> Tensor:
    """Eight marks to a byte: entry i is bit i mod 8, counted from the lowest, of byte ⌊i/8⌋.

    Args:
        marks: `[n]`, booleans.

    Returns:
        `[⌈n/8⌉]`, uint8; the bits that are left over are 0.

    Example:
        >>> pack_bits(torch.tensor([True, False, True] + 6 * [False] + [True])).tolist()
        [5, 2]
    """
    eights = pad(marks.to(torch.uint8), (0, -len(marks) % 8)).view(-1, 8)
    return (eights * _places(marks.device)).sum(dim=1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, start: int, stop: int) -> Tensor:
    """The marks of entries `start` to `stop` (not included).

    Args:
        packed: `[⌈stop/8⌉ − ⌊start/8⌋]`, uint8: the bytes that hold them.
        start: the first entry.
        stop: the one to end before.

    Returns:
        `[stop − start]`, booleans.

    Example:
        >>> unpack_bits(torch.tensor([5, 2], dtype=torch.uint8), 1, 10).int().tolist()
        [0, 1, 0, 0, 0, 0, 0, 0, 1]
    """
    first = start % 8
    marks = (packed[:, None] & _places(packed.device)).ne_(0).view(-1)
    return marks[first : first + stop - start].bool()


def _places(device: torch.device) -> Tensor:
    return torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=device)
