"""The nearest rows: by the differences themselves, so that equal rows are at distance zero, and in bounded memory."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.combine.parts import Array

PIECE: Final = 1 << 22
"""Most distances that are worked out at a time: 32 MiB of float64."""


def nearest_rows(X: Array, reference: Array, k: int, *, piece: int = PIECE) -> Array:
    """The k rows of a reference that are nearest to each row, nearest first; of equally near ones the earlier.

        d²(x, r) = Σ_d (x_d − r_d)², added up column by column

    Args:
        X: `[N, D]`, finite.
        reference: `[R, D]`, finite, R ≥ k.
        k: how many.
        piece: distances at a time.

    Returns:
        int64 `[N, k]`, numbers of rows of the reference.

    Example:
        >>> nearest_rows(np.array([[0.0]]), np.array([[2.0], [-1.0], [1.0]]), 2).tolist()
        [[1, 2]]
    """
    step = max(1, piece // len(reference))
    found = [_nearest(X[at : at + step], reference, k) for at in range(0, len(X), step)]
    return np.concatenate(found) if found else np.zeros((0, k), np.int64)


def squared_distances(X: Array, reference: Array) -> Array:
    """d², `[N, R]`."""
    total = np.zeros((len(X), len(reference)))
    for x, r in zip(X.T, reference.T):
        gap = np.subtract.outer(x, r)
        gap *= gap
        total += gap
    return total


def _nearest(X: Array, reference: Array, k: int) -> Array:
    distance = squared_distances(X, reference)
    near = np.sort(np.argpartition(distance, k - 1, axis=1)[:, :k], axis=1)  # by number: the sort below is stable
    most = np.take_along_axis(distance, near, 1).max(axis=1)
    for row in np.flatnonzero((distance <= most[:, None]).sum(axis=1) > k):  # which of equal ones came in is chance
        near[row] = np.sort(np.argsort(distance[row], kind="stable")[:k])
    order = np.argsort(np.take_along_axis(distance, near, 1), axis=1, kind="stable")
    return np.take_along_axis(near, order, 1)
