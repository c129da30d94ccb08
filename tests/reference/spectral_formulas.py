"""Slow references of the spectral merge methods: the deltas of one 2-D weight, NumPy in double precision.

Written from the papers (TSV-M 2412.00081, Iso-C and Iso-CTS 2502.04959, KnOTS 2410.19735, OPCM 2501.09522), never
from the methods under test. All of them take the deltas τᵢ = θᵢ − θ₀ and give the delta that is added to the base. A
1-D tensor has no spectrum: every method gives it the mean of the deltas.

Singular values that are rounding (below `rank_floor`) are taken for zero and their vectors are left out. The papers
keep them; but those vectors are whatever the SVD routine happens to return, so that a result with them is not a
function of the deltas. Where all matrices have full rank, as fine-tuned weights do, nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.reference import formulas
from tests.reference.quadratic_formulas import rank_floor, stacked

Array = NDArray[np.float64]
Triplets = tuple[Array, Array, Array]


def triplets(matrix: Array, most: int | None = None) -> Triplets:
    """U `[m, r]`, σ `[r]` and Vᵀ `[r, n]` of the singular values above rounding, largest first, at most so many."""
    u, sigma, vt = np.linalg.svd(matrix, full_matrices=False)
    rank = int(np.sum(sigma > rank_floor(sigma, matrix.shape)))
    kept = rank if most is None else min(rank, most)
    return u[:, :kept], sigma[:kept], vt[:kept]


def nearest_orthogonal(matrix: Array) -> Array:
    """P Qᵀ of the SVD P Σ Qᵀ: the polar factor, the nearest matrix with orthonormal columns (or rows, if it is wide).

    Of a matrix with dependent columns it is the nearest partial isometry: the part of the answer that is unique.
    """
    p, _, qt = triplets(matrix)
    return p @ qt


def mean_of_vectors(method: Callable[..., Array]) -> Callable[..., Array]:
    """The method for 2-D deltas; the mean of the deltas for 1-D ones."""

    def merged(deltas: Sequence[Array], *args: object, **settings: object) -> Array:
        d = stacked(deltas)
        return d.mean(axis=0) if d[0].ndim < 2 else method(d, *args, **settings)

    merged.__doc__ = method.__doc__
    return merged


@mean_of_vectors
def tsv_m(deltas: Array, alpha: float = 1.0, keep: float | None = None) -> Array:
    """α Û⊥ Σ̂ V̂⊥ᵀ: the top triplets of every delta side by side, their vectors made orthogonal.

    Each delta keeps ⌊keep · min(m, n)⌋ triplets; `keep` is 1/N by default, so that together they fill the matrix once.
    """
    smallest = min(deltas[0].shape)
    count = smallest // len(deltas) if keep is None else int(keep * smallest)
    parts = [triplets(d, count) for d in deltas]
    u = np.concatenate([part[0] for part in parts], axis=1)
    sigma = np.concatenate([part[1] for part in parts])
    vt = np.concatenate([part[2] for part in parts], axis=0)
    return alpha * nearest_orthogonal(u) @ np.diag(sigma) @ nearest_orthogonal(vt)


@mean_of_vectors
def iso_c(deltas: Array, alpha: float = 1.0) -> Array:
    """α σ̄ U Vᵀ of the SVD of Σ τᵢ: all singular values become their mean.

    The mean is over those that are not rounding, so that the sum of the singular values stays what it was.
    """
    u, sigma, vt = triplets(deltas.sum(axis=0))
    return alpha * mean_or_zero(sigma) * u @ vt


def mean_or_zero(values: Array) -> float:
    """The mean; 0 of nothing."""
    return float(values.mean()) if values.size else 0.0


def common_and_per_task(smallest: int, models: int, fraction: float) -> tuple[int, int]:
    """How many common directions, and how many per task, so that together they are min(m, n).

    The share of the tasks, min(m, n) − ⌊fraction · min(m, n)⌋, is rounded to a multiple of N (to the even multiple from
    half way, and never beyond min(m, n)); what remains is common.
    """
    wanted = smallest - int(smallest * fraction)
    per_task = min(round(wanted / models), smallest // models)
    return smallest - per_task * models, per_task


@mean_of_vectors
def iso_cts(deltas: Array, common_fraction: float = 0.8, alpha: float = 1.0) -> Array:
    """α σ̄ U⊥ V⊥ᵀ of the common directions and of each task's own (algorithm 2).

    The common ones are the top k triplets of Σ τᵢ; task i's are the top triplets of (I − U Uᵀ) τᵢ with U the common
    left vectors. Stacked, both sides are made orthogonal, and every singular value becomes the mean of all those taken.
    """
    common, per_task = common_and_per_task(min(deltas[0].shape), len(deltas), common_fraction)
    top = triplets(deltas.sum(axis=0), common)
    residuals = [d - top[0] @ (top[0].T @ d) for d in deltas]
    parts = [triplets_beside(r, d, per_task) for r, d in zip(residuals, deltas)] + [top]
    u = np.concatenate([part[0] for part in parts], axis=1)
    sigma = np.concatenate([part[1] for part in parts])
    vt = np.concatenate([part[2] for part in parts], axis=0)
    return alpha * mean_or_zero(sigma) * nearest_orthogonal(u) @ nearest_orthogonal(vt)


def triplets_beside(residual: Array, delta: Array, most: int) -> Triplets:
    """The top triplets of what a projection left of a delta.

    The projection rounds as often as a row has entries, and so do the vectors that it projects on: what is rounding is
    measured against the delta, and more generously than for a matrix that is given.
    """
    floor = 16.0 * rank_floor(np.linalg.svd(delta, compute_uv=False), delta.shape)
    u, sigma, vt = triplets(residual, most)
    kept = int(np.sum(sigma > floor))
    return u[:, :kept], sigma[:kept], vt[:kept]


def shared_basis(deltas: Array) -> tuple[Array, Array, list[Array]]:
    """U, σ and Vᵢᵀ `[r, n]` of [τ₁ … τ_N] = U Σ [V₁ᵀ … V_Nᵀ], the deltas being concatenated along their columns."""
    u, sigma, vt = triplets(np.concatenate(list(deltas), axis=1))
    return u, sigma, np.split(vt, len(deltas), axis=1)


@mean_of_vectors
def knots(
    deltas: Array,
    combine: Literal["ties", "dare", "linear"] = "ties",
    weights: Sequence[float] | None = None,
    density: float = 1.0,
    normalize: bool = True,
    keep_masks: Sequence[Sequence[bool]] | None = None,
    aligned: Literal["V", "ΣV"] = "V",
) -> Array:
    """U Σ merge(V₁ᵀ, …, V_Nᵀ), the merge being TIES, DARE or a weighted sum of the flattened Vᵢᵀ.

    The authors' published settings merge Σ Vᵢᵀ instead (`aligned="ΣV"`), which differs where entries of different rows
    compete: in what TIES trims.
    """
    u, sigma, vts = shared_basis(deltas)
    rows = [np.diag(sigma) @ vt for vt in vts] if aligned == "ΣV" else vts
    flat = [list(map(float, r.ravel())) for r in rows]
    w = [1.0] * len(flat) if weights is None else list(weights)
    densities, nothing = [density] * len(flat), [0.0] * len(flat[0])
    if combine == "ties":
        merged = formulas.ties(nothing, flat, w, densities, normalize=normalize)
    elif combine == "dare":
        assert keep_masks is not None
        merged = formulas.dare_linear(nothing, flat, w, densities, keep_masks, normalize=normalize)
    else:
        merged = formulas.task_arithmetic(nothing, flat, w, normalize=normalize)
    coordinates = np.array(merged).reshape(vts[0].shape)
    return u @ coordinates if aligned == "ΣV" else u @ np.diag(sigma) @ coordinates


def off_the_known(delta: Array, known: Array, alpha: float) -> Array:
    """P(τ; Δ): the delta without what lies along the singular directions uᵢvⱼᵀ of what is merged already.

    All i = j go, and all i, j below the number of leading singular values that together make up at most α of their sum.
    """
    u, sigma, vt = triplets(known)
    leading = int(np.sum(np.cumsum(sigma) / sigma.sum() <= alpha)) if sigma.size else 0
    out = delta.copy()
    for i in range(len(sigma)):
        for j in range(len(sigma)):
            if i == j or max(i, j) < leading:
                out -= (u[:, i] @ delta @ vt[j]) * np.outer(u[:, i], vt[j])
    return out


@mean_of_vectors
def opcm(deltas: Array, alpha: float = 0.5) -> Array:
    """Δₜ = (λₜ₋₁ Δₜ₋₁ + P(τₜ; Δₜ₋₁)) / λₜ, one model after the other, with λₜ such that ‖Δₜ‖ = the mean of ‖τ₁‖ … ‖τₜ‖.

    λ₁ = 1 and Δ₁ = τ₁. As λₜ₋₁ Δₜ₋₁ is the sum of what was projected so far, only the last
    length matters. Norms are those of this tensor; the authors' code takes one norm over all tensors of a model.
    """
    merged, scale = deltas[0], 1.0
    for t in range(1, len(deltas)):
        total = scale * merged + off_the_known(deltas[t], merged, alpha)
        size = float(np.mean([np.linalg.norm(d) for d in deltas[: t + 1]]))
        length = float(np.linalg.norm(total))
        scale = length / size if length > 0.0 else 1.0
        merged = total / scale
    return merged
