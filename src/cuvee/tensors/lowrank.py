"""Singular vectors of deltas: triplets above rounding, nearest orthogonal factors, shared bases; all in float64.

Singular values that are rounding count as zero, and their vectors are left out: those are whatever the routine happens
to return, so that a result with them would be no function of the deltas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cuvee.tensors.factors import factors_of

_EPS = torch.finfo(torch.float64).eps
_TIE = 1e-12
"""Shares of a sum of singular values that differ by less are the same share, rounded in two ways."""


@dataclass(frozen=True)
class Triplets:
    """U diag(σ) Vᵀ: `u` is `[m, r]`, `sigma` `[r]`, `vt` `[r, n]`, largest first where one matrix is factored."""

    u: Tensor
    sigma: Tensor
    vt: Tensor

    def product(self) -> Tensor:
        """The matrix itself, `[m, n]`."""
        return (self.u * self.sigma) @ self.vt

    def flattened(self) -> Tensor:
        """σ̄ U Vᵀ: every singular value is their mean; zeros where there is none."""
        return self.u @ self.vt * (self.sigma.mean() if len(self.sigma) else 0.0)

    def orthogonalised(self) -> Triplets:
        """The same with the nearest orthonormal vectors on both sides."""
        return Triplets(nearest_orthogonal(self.u), self.sigma, nearest_orthogonal(self.vt))


@dataclass(frozen=True)
class Matrices:
    """The deltas as matrices in float64, made one at a time, all times one power of two: their largest entry is near 1.

    So nothing overflows or vanishes on the way, and the power changes no digit. They are made on the processor wherever
    the deltas are: another device factors them to other bytes.

    Attributes:
        stack: `[K, m, n]`, in the dtype of the arithmetic.
        exponent: the largest entry is in [2^(exponent − 1), 2^exponent).
    """

    stack: Tensor
    exponent: int

    def __len__(self) -> int:
        return len(self.stack)

    def __iter__(self) -> Iterator[Tensor]:
        for delta in self.stack:
            yield times_power(delta.to("cpu", torch.float64, copy=True), -self.exponent)

    @property
    def smallest(self) -> int:
        """min(m, n), the most singular values that a delta can have."""
        return min(self.stack.shape[1:])

    def total(self, weights: Sequence[float] | None = None) -> Tensor:
        """Σ wᵢ τᵢ, `[m, n]`; Σ τᵢ without weights."""
        total = torch.zeros(self.stack.shape[1:], dtype=torch.float64)
        for matrix, weight in zip(self, weights or [1.0] * len(self), strict=True):
            total += matrix.mul_(weight)
        return total


@dataclass(frozen=True)
class SharedBasis:
    """[τ₁ … τ_K] = U diag(σ) [V₁ᵀ … V_Kᵀ]: `u` is `[m, r]`, `sigma` `[r]`, `vts` `[r, K, n]`."""

    u: Tensor
    sigma: Tensor
    vts: Tensor

    def coordinates(self, with_sigma: bool) -> Tensor:
        """Vᵢᵀ, or diag(σ) Vᵢᵀ, of every model as one row, `[K, r·n]`."""
        each = self.vts.transpose(0, 1)
        return (each * self.sigma[:, None] if with_sigma else each).flatten(1)

    def lifted(self, row: Tensor, with_sigma: bool) -> Tensor:
        """The matrix of merged coordinates `[r·n]`, `[m, n]`."""
        basis = self.u if with_sigma else self.u * self.sigma
        return basis @ row.reshape(len(self.sigma), self.vts.shape[2])


def times_power(values: Tensor, power: int) -> Tensor:
    """Values times 2^power, in place; in two steps, because 2^power alone may be no float64."""
    half = power // 2
    return values.mul_(2.0**half).mul_(2.0 ** (power - half))


def merge_matrices(
    deltas: Tensor,
    shape: Sequence[int],
    merge: Callable[[Matrices], Tensor],
    *,
    scale: float = 1.0,
    shares: Sequence[float] | None = None,
) -> Tensor:
    """Merge the deltas of a matrix by what is given; those of a vector, which has no spectrum, by the mean.

    Args:
        deltas: `[K, m, n]`.
        shape: of the tensor; with less than two dimensions it is a vector, or a scalar.
        merge: gives a matrix `[m, n]` in float64.
        scale: what the result is multiplied with.
        shares: what the deltas of a vector are multiplied with; 1/K each, if they are left out.

    Returns:
        `[m, n]` in the dtype of the deltas; NaN throughout where an entry is not finite, because every entry of the
        result depends on it.
    """
    low, high = (float(end) for end in torch.aminmax(deltas))
    if not (math.isfinite(low) and math.isfinite(high)):
        return torch.full_like(deltas[0], math.nan)
    matrices = Matrices(deltas, math.frexp(max(-low, high))[1])
    merged = matrices.total(shares or [1 / len(deltas)] * len(deltas)) if len(shape) < 2 else merge(matrices)
    return times_power(merged * scale, matrices.exponent).to(deltas.device, deltas.dtype)


def triplets(matrix: Tensor, most: int | None = None, floor: float | None = None) -> Triplets:
    """The singular triplets above rounding, largest first.

    Args:
        matrix: `[m, n]`, float64.
        most: how many at most.
        floor: singular values up to this are rounding; by default `rank_floor` of the largest.
    """
    u, sigma, vt = factors_of(matrix)
    largest = float(sigma[0]) if len(sigma) else 0.0
    limit = rank_floor(largest, matrix.shape) if floor is None else floor
    kept = min(int((sigma > limit).sum()), len(sigma) if most is None else most)
    if kept == len(sigma):
        return Triplets(u, sigma, vt)
    return Triplets(u[:, :kept].clone(), sigma[:kept].clone(), vt[:kept].clone())  # so that the rest can be freed


def rank_floor(largest: float, shape: Sequence[int]) -> float:
    """Singular values of a matrix of that shape up to this are rounding, as `numpy.linalg.matrix_rank` has it."""
    return largest * max(shape) * _EPS


def side_by_side(parts: Sequence[Triplets]) -> Triplets:
    """The vectors and values of all parts as one list."""
    us, sigmas, vts = zip(*((part.u, part.sigma, part.vt) for part in parts), strict=True)
    return Triplets(torch.cat(us, dim=1), torch.cat(sigmas), torch.cat(vts, dim=0))


def nearest_orthogonal(matrix: Tensor) -> Tensor:
    """P Qᵀ of the SVD P Σ Qᵀ: the nearest matrix with orthonormal columns, or rows where it is wide.

    Of dependent columns the nearest partial isometry, which is the part of the answer that is unique.
    """
    found = triplets(matrix)
    return found.u @ found.vt


def triplets_beside(delta: Tensor, known: Tensor, most: int) -> Triplets:
    """The top triplets of what a delta has outside the span of the columns of `known`, (I − U Uᵀ) τ.

    The projection leaves rounding, also of a delta that lies inside the span: it is measured against the length of the
    delta, and more generously than that of a matrix that is given.

    Args:
        delta: `[m, n]`.
        known: U, `[m, k]`, orthonormal columns.
        most: how many at most.
    """
    floor = 16.0 * rank_floor(length(delta), delta.shape)
    return triplets(delta - known @ (known.T @ delta), most, floor)


def length(matrix: Tensor) -> float:
    """‖A‖, the root of the sum of all squares."""
    return float(torch.linalg.vector_norm(matrix))


def off_the_known(delta: Tensor, known: Tensor, alpha: float) -> Tensor:
    """A delta without what lies along the singular directions uᵢvⱼᵀ of `known`, which is used up to scale only.

    All i = j go, and all i and j below the number of leading singular values that make up at most α of their sum.

    Args:
        delta: `[m, n]`.
        known: `[m, n]`.
        alpha: share of the sum of singular values, [0, 1].
    """
    basis = triplets(known)
    running = basis.sigma.cumsum(0)
    leading = int((running <= alpha * (1 + _TIE) * running[-1:]).sum())
    along = basis.u.T @ delta @ basis.vt.T
    gone = torch.diag(along.diagonal())
    gone[:leading, :leading] = along[:leading, :leading]
    return delta - basis.u @ gone @ basis.vt


def shared_basis(matrices: Matrices) -> SharedBasis:
    """The basis of the outputs that all deltas share, from the SVD of the deltas side by side.

    Coordinates that are rounding are zeros: a model that does not have a direction must not vote on it, and by the sign
    of a rounding it would agree with the others half of the time.
    """
    joined = torch.cat(list(matrices), dim=1)
    found = triplets(joined)
    floor = rank_floor(float(found.sigma[0]) if len(found.sigma) else 0.0, joined.shape)
    kept = (found.vt.abs() * found.sigma[:, None] > floor).to(found.vt.dtype)
    vts = (found.vt * kept).reshape(len(found.sigma), *matrices.stack.shape[::2])
    return SharedBasis(found.u, found.sigma, vts)


def keep_top(rows: Tensor, density: Sequence[float]) -> Tensor:
    """The ⌊density·n⌋ entries of largest magnitude of every row, at least one; of equal ones the first.

    Args:
        rows: `[K, n]`.
        density: kept fraction of each, (0, 1].
    """
    kept = rows.clone()
    for row, share in zip(kept, density, strict=True):
        count = max(1, int(share * len(row)))
        if count < len(row):
            row[row.abs().argsort(descending=True, stable=True)[count:]] = 0.0
    return kept
