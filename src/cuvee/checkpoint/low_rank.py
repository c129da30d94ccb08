"""The arithmetic of a change of low rank, for any run of entries of a weight: the same bytes however it is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

_PIECE: Final = 1 << 16
"""Entries worked out at a time: a piece and its products stay in a core's cache."""

_CHUNK: Final = 1 << 20
"""Entries of a weight read at a time when its norms are taken; part of what a norm is, to its last bit."""


@dataclass(frozen=True, slots=True)
class Factors:
    """ΔW = scale · left · right, in the shape in which the weight stands.

    Attributes:
        left: `[rows, r]`.
        right: `[r, columns]`.
        scale: s.
    """

    left: Tensor
    right: Tensor
    scale: float

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return sum(one.numel() * one.element_size() for one in (self.left, self.right))


def add_change(values: Tensor, start: int, factors: Factors) -> Tensor:
    """W + s · left · right, for a run of entries.

    The sum over r is a chain of multiply and add, entry by entry: a product of matrices may choose its order of
    summation by their sizes, and then tiles would not give the bytes of the whole.

    Args:
        values: the entries from `start` on, row by row, of the dtype to work in.
        start: number of the first of them in the whole weight.
        factors: the change, of the same dtype.

    Returns:
        As many entries.
    """
    import torch

    made = torch.empty_like(values)
    width = factors.right.shape[1]
    for row, column, run in runs(values, start, width):
        into = made[run].view(-1, min(width - column, run.stop - run.start))
        rows, columns = slice(row, row + len(into)), slice(column, column + into.shape[1])
        delta = _product(factors.left[rows], factors.right[:, columns])
        torch.add(values[run].view(into.shape), delta.mul_(factors.scale), out=into)
    return made


def runs(values: Tensor, start: int, width: int) -> Iterator[tuple[int, int, slice]]:
    """Cut a run of entries into pieces that are part of one row or whole rows: row, first column, where in the run."""
    at, stop = 0, len(values)
    rows = max(1, _PIECE // width)
    while at < stop:
        row, column = divmod(start + at, width)
        whole = (stop - at) // width
        length = min(rows, whole) * width if column == 0 and whole else min(width - column, stop - at)
        yield row, column, slice(at, at + length)
        at += length


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Left · right as a chain over r, `[rows, columns]`."""
    import torch

    total = left[:, :1] * right[:1]
    product = torch.empty_like(total)
    for k in range(1, left.shape[1]):
        torch.mul(left[:, k : k + 1], right[k : k + 1], out=product)
        total.add_(product)
    return total


def norms(read: Callable[[int, int], Tensor], shape: tuple[int, int], *, by_column: bool) -> Tensor:
    """The Euclidean norm of every row of a matrix, or of every column, in float64.

    Args:
        read: gives entries `start` to `stop` of it, row by row.
        shape: rows and columns.
        by_column: whether the norms of the columns are meant.

    Returns:
        `[rows]` or `[columns]`.
    """
    import torch

    rows, width = shape
    step = max(1, _CHUNK // width)
    total = torch.zeros(width if by_column else rows, dtype=torch.float64, device="cpu")
    for first in range(0, rows, step):
        last = min(first + step, rows)
        squares = read(first * width, last * width).view(last - first, width).double().square()
        if by_column:
            total += folded(squares)
        else:
            total[first:last] = folded(squares.mT)
    return total.sqrt()


def folded(values: Tensor) -> Tensor:
    """The sum over the first axis, halves added to halves: no kernel chooses the order."""
    while len(values) > 1:
        half = len(values) // 2
        odd = values[2 * half :]
        values = values[:half] + values[half : 2 * half]
        if len(odd):
            values[0] += odd[0]
    return values[0]
