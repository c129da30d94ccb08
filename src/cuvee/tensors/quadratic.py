"""Least squares over models: one weight that does to every model's inputs what that model's own weight does.

For linear maps `y = W x`, model i has the weight Wᵢ and met inputs with the second moment Gᵢ = E[x xᵀ]. The weight that
minimises Σ wᵢ E‖W x − Wᵢ x‖² solves a normal equation, which is all that RegMean asks for.

References:
    Jin et al. 2023, Dataless Knowledge Fusion by Merging Weights of Language Models, arXiv:2212.09849, eq. 2 and the
    scaling of off-diagonal entries that follows it. Nguyen et al. 2025, RegMean++, arXiv:2508.03121, solves the same
    equation with other Gᵢ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from cuvee.tensors.affine import per_model, weighted_sum

_ROUNDING: Final = 4.0
"""Times √n and the spacing of the Grams' dtype: what rounding n² entries of size 1 may add to an eigenvalue."""

_WELL_CONDITIONED: Final = 1e-5
"""Least over largest entry on the diagonal of a triangular factor from which it is solved with: a tenth as much work as
eigenvalues, which tell what is nought."""


def damp(gram: Tensor, alpha: float) -> Tensor:
    """Multiply the off-diagonal entries of a Gram matrix by `alpha`.

    Few inputs say more of how entries vary on their own than of how they vary together.

    Args:
        gram: `[n, n]`.
        alpha: [0, 1]; 1 changes nothing, 0 leaves the diagonal.

    Returns:
        `[n, n]`, of the dtype of `gram`; positive semi-definite where `gram` is.

    Example:
        >>> damp(torch.tensor([[4.0, 2.0], [2.0, 3.0]]), 0.5)
        tensor([[4., 1.],
                [1., 3.]])
    """
    damped = gram * alpha
    damped.diagonal().copy_(gram.diagonal())
    return damped


def solve(
    targets: Sequence[Tensor], grams: Sequence[Tensor], weights: Sequence[float] | Tensor, ridge: float = 0.0
) -> Tensor:
    """The weight nearest to all targets, each measured on its own inputs: `(Σ wᵢ Wᵢ Gᵢ) (Σ wᵢ Gᵢ)⁻¹`.

    `ridge` adds `ridge · mean(diag Gᵢ)` to the diagonal of every Gᵢ, on both sides, so that directions without inputs
    get the average of the targets. Without it, and where the sum is singular, a pseudo-inverse is taken: that of the
    sum scaled to ones on its diagonal, so that inputs of very different sizes are not mistaken for a singularity.
    Directions without inputs then get nought, which the data cannot tell from anything else.

    Args:
        targets: K weights `[m, n]` of the same map, outputs by inputs.
        grams: K Gram matrices `[n, n]`, symmetric and positive semi-definite, as sums or as means per row.
        weights: K numbers of at least 0, not all of them 0.
        ridge: ≥ 0, as a share of the mean of the diagonal.

    Returns:
        `[m, n]` in float64.

    Example:
        >>> same = torch.eye(2)
        >>> solve([2 * same, 4 * same], [3 * same, same], [1.0, 1.0])  # twice 3 parts, 4 times 1 part
        tensor([[2.5000, 0.0000],
                [0.0000, 2.5000]], dtype=torch.float64)
    """
    shares = [float(weight) for weight in weights]
    steady = [_with_ridge(gram.double(), ridge) * share for gram, share in zip(grams, shares, strict=True)]
    right = _sum([target.double() @ gram for target, gram in zip(targets, steady, strict=True)])
    noise = _ROUNDING * math.sqrt(len(grams[0])) * max(torch.finfo(gram.dtype).eps for gram in grams)
    return _divided(right, _sum(steady), noise)


def solve_own(targets: Sequence[Tensor], weights: Sequence[float] | Tensor) -> Tensor:
    """`solve` where every target is its own inputs, `Gᵢ = Wᵢᵀ Wᵢ`, without making one matrix `[n, n]` for each.

    Args:
        targets: K matrices `[m, n]`.
        weights: K numbers of at least 0, not all of them 0; a target of weight 0 takes no part.

    Returns:
        `[m, n]` in float64; what lies outside the rows of all targets is nought.
    """
    counted = [(one.double(), float(share)) for one, share in zip(targets, weights, strict=True) if share > 0]
    right = torch.zeros_like(counted[0][0])
    tall = right.shape[0] > right.shape[1]
    for one, share in counted:
        left, other = (one, one.mT @ one) if tall else (one @ one.mT, one)  # the smaller of the two squares
        right.addmm_(left, other, alpha=share)
    fewer_rows = sum(len(one) for one, _ in counted) <= right.shape[1]
    found = _by_rows(right, counted) if fewer_rows else None
    return _by_columns(right, counted) if found is None else found


_Counted = Sequence[tuple[Tensor, float]]


def _by_rows(right: Tensor, counted: _Counted) -> Tensor | None:
    """`right · G⁺` for G = BᵀB, Bᵀ = Q R with few columns: `right Q (R Rᵀ)⁻¹ Qᵀ`; `None` near singularity."""
    rows = torch.cat([one * math.sqrt(share) for one, share in counted])
    basis, triangle = torch.linalg.qr(rows.mT)
    sizes = triangle.diagonal().abs()
    if not bool(sizes.min() > _WELL_CONDITIONED * sizes.max()):
        return None
    half = torch.linalg.solve_triangular(triangle, (right @ basis).mT, upper=True)
    found: Tensor = torch.linalg.solve_triangular(triangle.mT, half, upper=False).mT @ basis.mT
    return found


def _by_columns(right: Tensor, counted: _Counted) -> Tensor:
    """`right · G⁺` for G = Σ wᵢ Wᵢᵀ Wᵢ: by Cholesky's factors, or near singularity by eigenvalues."""
    total = right.new_zeros(right.shape[1], right.shape[1])
    for one, share in counted:
        total.addmm_(one.mT, one, alpha=share)
    factor, failed = torch.linalg.cholesky_ex(total)
    sizes = factor.diagonal()
    if not failed and bool(sizes.min() > _WELL_CONDITIONED * sizes.max()):
        solved: Tensor = torch.cholesky_solve(right.mT, factor)
        return solved.mT
    values, vectors = torch.linalg.eigh(total)
    floor = _ROUNDING * len(values) * torch.finfo(torch.float64).eps * float(values[-1])
    kept = vectors[:, values > floor]
    found: Tensor = (right @ kept / values[values > floor]) @ kept.mT
    return found


def solve_diagonal(targets: Tensor, diagonals: Tensor, weights: Tensor) -> Tensor:
    """`solve` where every Gᵢ is a diagonal: `Σ wᵢ dᵢ xᵢ / Σ wᵢ dᵢ` by entry, and the plain mean where that is 0/0.

    The weights of an entry are divided by the largest of them first, so that small ones neither vanish nor overflow.

    Args:
        targets: `[K, n]`.
        diagonals: `[K, n]`, not negative.
        weights: `[K]`, not negative.

    Returns:
        `[n]`, in float64.
    """
    shares = diagonals.double() * per_model(weights.double(), diagonals)
    largest = shares.amax(0)
    one = torch.ones_like(largest)
    counted = torch.where(largest > 0, shares / torch.where(largest > 0, largest, one), one)
    return weighted_sum(targets.double(), counted) / weighted_sum(counted, counted.new_ones(len(counted)))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    """The sum of at least one tensor, one after the other."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _with_ridge(gram: Tensor, ridge: float) -> Tensor:
    """The symmetric part of a Gram matrix, and a share of its mean diagonal on top of its diagonal."""
    symmetric = (gram + gram.mT) / 2
    symmetric.diagonal().add_(ridge * symmetric.diagonal().mean())
    return symmetric


def _divided(right: Tensor, total: Tensor, noise: float) -> Tensor:
    """`right · total⁻¹`, by Cholesky's factors where all of them are above the noise, else by eigenvalues."""
    scale = total.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    even, scaled = right / scale, total / scale[:, None] / scale[None, :]
    factor, failed = torch.linalg.cholesky_ex(scaled)
    if not failed and bool((factor.diagonal().square() > noise).all()):
        solved: Tensor = torch.cholesky_solve(even.mT, factor)
        return solved.mT / scale
    values, vectors = torch.linalg.eigh(scaled)
    kept = vectors[:, values > noise]
    solved = (even @ kept / values[values > noise]) @ kept.mT
    return solved / scale
