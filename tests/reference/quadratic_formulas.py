"""Slow references of the quadratic merge methods: one 2-D weight at a time, NumPy in double precision.

Written from the papers (RegMean 2212.09849, Fisher merging 2111.09832, WUDI 2503.08099, ACTMat 2604.01329), never
from the methods under test. A weight is `[out, in]`, so that a layer computes `W x` and the Gram matrix of its inputs
is `[in, in]`.

All four minimise Σᵢ tr((W − Wᵢ) Gᵢ (W − Wᵢ)ᵀ), with a Gᵢ of their own; Gᵢ = I gives the plain mean. `solve` is that
minimum; the rest say what Gᵢ is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stacked(arrays: Sequence[Array]) -> Array:
    """The same numbers in double precision, one per model along the first axis."""
    return np.stack([np.asarray(a, dtype=np.float64) for a in arrays])


def rank_floor(values: Array, shape: tuple[int, ...]) -> float:
    """Singular values of a matrix of that shape up to this are rounding, as `numpy.linalg.matrix_rank` has it."""
    largest = float(np.max(values, initial=0.0))
    return largest * max(shape) * float(np.finfo(np.float64).eps)


def symmetric_inverse(gram: Array) -> Array:
    """Pseudo-inverse of a positive semi-definite matrix: 1/λ where an eigenvalue λ is more than rounding, else 0."""
    values, vectors = np.linalg.eigh((gram + gram.T) / 2.0)
    floor = rank_floor(values, gram.shape)
    inverse = np.array([1.0 / v if v > floor else 0.0 for v in values])
    return vectors @ np.diag(inverse) @ vectors.T


def solve(targets: Sequence[Array], grams: Sequence[Array], ridge: float = 0.0) -> Array:
    """The smallest W that minimises Σᵢ tr((W − Wᵢ) Gᵢ (W − Wᵢ)ᵀ): (Σ Wᵢ Gᵢ)(Σ Gᵢ + ridge·ḡ·I)⁺.

    Args:
        targets: Wᵢ, `[out, in]` each.
        grams: Gᵢ, `[in, in]` each, symmetric positive semi-definite.
        ridge: times ḡ, the mean of the diagonal of Σ Gᵢ, so that it has no unit; 0 takes the pseudo-inverse.
    """
    w, g = stacked(targets), stacked(grams)
    total = g.sum(axis=0)
    mean_diagonal = np.trace(total) / len(total)
    moments = sum((wi @ gi for wi, gi in zip(w, g)), start=np.zeros_like(w[0]))
    return moments @ symmetric_inverse(total + ridge * mean_diagonal * np.eye(len(total)))


def loss(candidate: Array, targets: Sequence[Array], grams: Sequence[Array]) -> float:
    """Σᵢ tr((W − Wᵢ) Gᵢ (W − Wᵢ)ᵀ), what `solve` minimises."""
    return float(sum(np.trace((candidate - w) @ g @ (candidate - w).T) for w, g in zip(targets, grams)))


def shrink_off_diagonal(gram: Array, alpha: float) -> Array:
    """Multiply everything off the diagonal by α, as RegMean does: 1 leaves the matrix, 0 leaves its diagonal."""
    diagonal = np.diag(np.diag(gram))
    return diagonal + alpha * (gram - diagonal)


def regmean(weights: Sequence[Array], grams: Sequence[Array], alpha: float = 1.0, ridge: float = 0.0) -> Array:
    """(Σ Wᵢ Gᵢ)(Σ Gᵢ)⁻¹ with Gᵢ = XᵢᵀXᵢ, off-diagonals times α; 1-D tensors: the plain mean.

    Solved for the distance from the plain mean, which changes nothing where Σ Gᵢ can be inverted. Along directions
    that no model's data has, where the paper's formula is silent, the answer is then the plain mean and not zero; and
    a ridge draws it towards the mean.
    """
    w = stacked(weights)
    middle = w.mean(axis=0)
    if w[0].ndim < 2:
        return middle
    return middle + solve(w - middle, [shrink_off_diagonal(g, alpha) for g in stacked(grams)], ridge)


def fisher(weights: Sequence[Array], fishers: Sequence[Array], lambdas: Sequence[float] | None = None) -> Array:
    """Σ λᵢFᵢθᵢ / Σ λᵢFᵢ, entry by entry; the plain mean where the divisor is 0. Any shape."""
    w, f = stacked(weights), stacked(fishers)
    scale = np.ones(len(w)) if lambdas is None else np.asarray(lambdas, dtype=np.float64)
    out = np.empty_like(w[0])
    for at in np.ndindex(out.shape):
        importance = [s * fi[at] for s, fi in zip(scale, f)]
        divisor = sum(importance)
        values = [wi[at] for wi in w]
        out[at] = sum(i * v for i, v in zip(importance, values)) / divisor if divisor != 0.0 else np.mean(values)
    return out


def wudi_grams(deltas: Sequence[Array]) -> list[Array]:
    """Gᵢ = τᵢᵀτᵢ / ‖τᵢ‖²_F; a delta of zero asks for nothing."""
    sizes = [float(np.sum(d * d)) for d in deltas]
    return [d.T @ d / size if size > 0.0 else np.zeros((d.shape[1],) * 2) for d, size in zip(deltas, sizes)]


def wudi(deltas: Sequence[Array], ridge: float = 0.0) -> Array:
    """The minimum of Σᵢ ‖(τ − τᵢ) τᵢᵀ‖²_F / ‖τᵢ‖²_F, in closed form; 1-D tensors: the mean of the deltas.

    Expanding the square gives tr((τ − τᵢ) τᵢᵀτᵢ (τ − τᵢ)ᵀ) / ‖τᵢ‖²: the quadratic above. The paper descends to it by
    300 steps of Adam from Σ τᵢ; what those steps cannot move, the part of τ outside the rows of every τᵢ, is zero at
    their start as it is in the pseudo-inverse.
    """
    d = stacked(deltas)
    return d.mean(axis=0) if d[0].ndim < 2 else solve(d, wudi_grams(d), ridge)


def actmat(deltas: Sequence[Array], ridge: float = 0.0) -> Array:
    """(Σ τᵢ τᵢᵀτᵢ)(Σ τᵢᵀτᵢ)⁺: each delta's own Gram matrix stands for its inputs'; 1-D tensors: the mean of the deltas.

    As WUDI without the division by ‖τᵢ‖²: a longer delta counts for more.
    """
    d = stacked(deltas)
    return d.mean(axis=0) if d[0].ndim < 2 else solve(d, [x.T @ x for x in d], ridge)
