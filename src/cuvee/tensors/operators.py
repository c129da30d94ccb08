"""What a change of a weight is like beside the weight itself, both seen as linear maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

import torch
from torch import Tensor

AT_A_TIME: Final = 1 << 22
"""Entries of a matrix that are widened at a time."""


def contrast_and_conflict(base: Tensor, deltas: Iterable[Tensor]) -> Iterator[tuple[float, float]]:
    """How much more concentrated each change is than the weight, and how far the two are from commuting.

        r(A) = exp(−Σ pⱼ ln pⱼ),   pⱼ = σⱼ(A)² / ‖A‖²            the effective rank
        e = r(B) / r(D)
        c = (‖B Dᵀ − D Bᵀ‖ + ‖Bᵀ D − Dᵀ B‖) / (2 ‖B‖ ‖D‖)

    for a weight B and its change D; all norms are Frobenius norms. Everything comes from products of the shorter side,
    in float64: O(m n²) for `m × n` with n ≤ m, and n³ for the eigenvalues.

    Args:
        base: `[rows, width]`, any float dtype.
        deltas: matrices of the same shape.

    Yields:
        e, above 0, and c, from 0 to √2, of each delta; both NaN where either matrix is nothing but zeros or has an
        entry that is not finite.

    Example:
        >>> list(contrast_and_conflict(torch.eye(2), [torch.diag(torch.tensor([1.0, 0.0]))]))
        [(2.0, 0.0)]

    Reference:
        Wang et al. 2026, LARV (arXiv:2602.09413).
    """
    own = _product(base, base)
    rank = _effective_rank(own)
    for delta in deltas:
        of_delta = _product(delta, delta)
        contrast = rank / _effective_rank(of_delta)
        yield (contrast, math.nan if math.isnan(contrast) else _conflict(own, of_delta, _product(base, delta)))
        del delta  # or it would be held while the next is made


def _product(left: Tensor, right: Tensor) -> Tensor:
    """`leftᵀ right` where that is the shorter side, else `left rightᵀ`; float64, by parts of the longer side.

    Of matrices that are brought near 1 first: squares of squares would leave what float64 holds.
    """
    if left.shape[0] < left.shape[1]:
        left, right = left.T, right.T  # e and c are those of the transposes too
    width = left.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64)
    part = max(1, AT_A_TIME // width)
    sized = [(matrix, _size(matrix)) for matrix in (left, right)]
    for start in range(0, len(left), part):
        first, second = (matrix[start : start + part].to(torch.float64, copy=True).div_(size) for matrix, size in sized)
        total.addmm_(first.T, second)
    return total


def _size(matrix: Tensor) -> float:
    """The power of two at the largest magnitude, by which one divides exactly; NaN without a finite one above 0."""
    largest = max(abs(float(end)) for end in torch.aminmax(matrix))
    return math.ldexp(1.0, max(math.frexp(largest)[1] - 1, -1022)) if 0 < largest < math.inf else math.nan


def _effective_rank(gram: Tensor) -> float:
    square = float(gram.diagonal().sum())
    if not (math.isfinite(square) and square > 0):
        return math.nan
    shares = torch.linalg.eigvalsh(gram / square).clamp(min=0.0)
    return math.exp(float(torch.special.entr(shares).sum()))


def _conflict(of_base: Tensor, of_delta: Tensor, mixed: Tensor) -> float:
    # ‖B Dᵀ − D Bᵀ‖² = 2 tr(BᵀB DᵀD) − 2 tr((BᵀD)²), the difference of equals where the two commute
    across = 2.0 * float((of_base * of_delta).sum() - (mixed * mixed.T).sum())
    along = float(torch.linalg.matrix_norm(mixed - mixed.T))
    lengths = math.sqrt(float(of_base.diagonal().sum()) * float(of_delta.diagonal().sum()))
    return (math.sqrt(max(0.0, across)) + along) / (2.0 * lengths)
