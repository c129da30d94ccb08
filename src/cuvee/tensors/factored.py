"""Matrices known by two thin factors, M = B A: sums, best approximations, bases that several share; all in float64.

M itself is never formed: an orthonormal basis of the columns of B and of the rows of A leaves a small matrix between
them, the core, which has the singular values of M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cuvee.tensors.lowrank import SharedBasis, Triplets, rank_floor, triplets


@dataclass(frozen=True)
class Factored:
    """M = B A: `b` is `[m, r]`, `a` `[r, n]`, float64."""

    b: Tensor
    a: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Of M."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def rank(self) -> int:
        """Columns of B; the rank of M may be less."""
        return self.b.shape[1]

    def product(self) -> Tensor:
        """M, `[m, n]`."""
        return self.b @ self.a


def weighted_sum(parts: Sequence[Factored], weights: Sequence[float]) -> Factored:
    """Σ wᵢ Bᵢ Aᵢ = [B₁ … B_K] [w₁ A₁; …; w_K A_K], whose rank is the sum of the ranks."""
    scaled = [part.a * weight for part, weight in zip(parts, weights, strict=True)]
    return Factored(torch.cat([part.b for part in parts], dim=1), torch.cat(scaled, dim=0))


def triplets_of_factors(matrix: Factored) -> Triplets:
    """The singular triplets of B A above rounding, largest first.

    B = Q R and Aᵀ = P S, so that B A = Q (R Sᵀ) Pᵀ, and the singular value decomposition of R Sᵀ is that of B A.
    """
    left, right = torch.linalg.qr(matrix.b), torch.linalg.qr(matrix.a.mT)
    core = triplets(left.R @ right.R.mT)
    floor = rank_floor(float(core.sigma[0]) if len(core.sigma) else 0.0, matrix.shape)
    kept = int((core.sigma > floor).sum())
    return Triplets(left.Q @ core.u[:, :kept], core.sigma[:kept], core.vt[:kept] @ right.Q.mT)


def balanced(found: Triplets) -> Factored:
    """U √σ and √σ Vᵀ: both factors have the same length."""
    root = found.sigma.sqrt()
    return Factored(found.u * root, root[:, None] * found.vt)


def leading(sigma: Tensor, rank: int | None, energy: float | None) -> int:
    """How many singular values are kept.

    Args:
        sigma: `[k]`, largest first.
        rank: at most so many; all of them without.
        energy: as few as hold this share of Σ σ², (0, 1]; without it as many as `rank` allows.

    Example:
        >>> leading(torch.tensor([3.0, 1.0]), None, 0.9), leading(torch.tensor([3.0, 1.0]), 1, None)
        (1, 1)
    """
    most = len(sigma) if rank is None else min(rank, len(sigma))
    if energy is None or not len(sigma):
        return most
    squares = sigma.square()
    # What is left out is added up from the smallest on: 1 minus a share would lose it to rounding.
    left_out = torch.cat([squares.flip(0).cumsum(0).flip(0)[1:], squares.new_zeros(1)])
    enough = left_out <= (1.0 - energy) * float(squares.sum())
    return min(most, int(enough.to(torch.int8).argmax()) + 1)


def cut_to(found: Triplets, count: int) -> tuple[Triplets, float]:
    """The first triplets, and ‖rest‖ / ‖all‖ (Frobenius), which the singular values say; 0 of nothing."""
    rest, whole = found.sigma[count:], found.sigma
    length = float(torch.linalg.vector_norm(whole))
    error = float(torch.linalg.vector_norm(rest)) / length if length else 0.0
    return Triplets(found.u[:, :count], found.sigma[:count], found.vt[:count]), error


def shared_basis_of_factors(parts: Sequence[Factored]) -> SharedBasis:
    """The basis of `lowrank.shared_basis` from the factors: [M₁ … M_K] = U diag(σ) [V₁ᵀ … V_Kᵀ].

    With [B₁ … B_K] = Q R and Aᵢᵀ = Pᵢ Sᵢ it is Q R diag(Sᵢᵀ) diag(Pᵢᵀ), of which only R diag(Sᵢᵀ) is decomposed.
    """
    left = torch.linalg.qr(torch.cat([part.b for part in parts], dim=1))
    rights = [torch.linalg.qr(part.a.mT) for part in parts]
    core = triplets(left.R @ torch.block_diag(*(right.R.mT for right in rights)))  # type: ignore[no-untyped-call]
    shape = parts[0].shape[0], parts[0].shape[1] * len(parts)
    floor = rank_floor(float(core.sigma[0]) if len(core.sigma) else 0.0, shape)
    kept = int((core.sigma > floor).sum())
    cuts = torch.split(core.vt[:kept], [right.R.shape[0] for right in rights], dim=1)
    vts = torch.stack([cut @ right.Q.mT for cut, right in zip(cuts, rights, strict=True)], dim=1)
    sigma = core.sigma[:kept]
    votes = (vts.abs() * sigma[:, None, None] > floor).to(vts.dtype)  # a coordinate that is rounding must not vote
    return SharedBasis(left.Q @ core.u[:, :kept], sigma, vts * votes)


@dataclass(frozen=True)
class CoreSpace:
    """Mᵢ = U Cᵢ Vᵀ for all i: `u` is `[m, p]`, `cores` `[K, p, q]`, `vt` `[q, n]`."""

    u: Tensor
    cores: Tensor
    vt: Tensor

    def lifted(self, core: Tensor) -> Factored:
        """The matrix of a merged core, without loss."""
        return Factored(self.u, core @ self.vt) if core.shape[0] <= core.shape[1] else Factored(self.u @ core, self.vt)


def core_space(parts: Sequence[Factored]) -> CoreSpace:
    """Orthonormal bases of all columns of the Bᵢ and of all rows of the Aᵢ, and what each matrix is between them.

    The bases are singular vectors of the factors laid side by side, as in the paper: entries of the cores depend on
    them, and the vectors of a QR would depend on the order of the adapters.
    """
    u = triplets(torch.cat([part.b for part in parts], dim=1)).u
    vt = triplets(torch.cat([part.a for part in parts], dim=0)).vt
    return CoreSpace(u, torch.stack([(u.mT @ part.b) @ (part.a @ vt.mT) for part in parts]), vt)
