"""Whether stored tensors hold the same values, read in pieces; and whether a stored head is its embedding's copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE: Final = 4096
"""Entries by which a head of its own is told from a copy: no two trained tensors agree in that many."""

_PIECE: Final = 1 << 20


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two flat tensors of one length hold the same bytes, or floats the same numbers in whatever dtype.

    NaN is equal to itself and 0.0 to -0.0. What is not a float has no numbers to compare: only its bytes count.
    """
    import torch

    if a.dtype == b.dtype and a.contiguous().view(torch.uint8).equal(b.contiguous().view(torch.uint8)):
        return True
    if not (a.is_floating_point() and b.is_floating_point()):
        return False
    x, y = a.double(), b.double()
    return bool(((x == y) | (x.isnan() & y.isnan())).all())


def same_tensors(a: Reader, name: str, b: Reader, other: str) -> bool:
    """Whether two stored tensors of one size hold the same values; they are read in pieces, up to the first difference.

    Args:
        a: where the first one is stored.
        name: what it is called there.
        b: where the second one is stored; may be the same reader.
        other: what it is called there.
    """
    numel = a.specs[name].numel
    ranges = ((start, min(start + _PIECE, numel)) for start in range(0, numel, _PIECE))
    return all(same_values(a.read(name, *piece), b.read(other, *piece)) for piece in ranges)


def begins_alike(reader: Reader, head: str, embedding: str) -> bool:
    """Whether a stored head starts with the values of the embedding that the configuration ties it to.

    Some classes (T5 1.1) say that they are tied and store a head of their own all the same. A look at the first
    `SAMPLE` entries tells it from a copy; where only headers are at hand it is taken for one.
    """
    sample = min(reader.specs[embedding].numel, SAMPLE)
    try:
        return same_values(reader.read(head, 0, sample), reader.read(embedding, 0, sample))
    except InputError:
        return True
