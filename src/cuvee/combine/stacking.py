"""What a stack looks at and, where its meta-learner is linear, what it answers."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from cuvee.combine.parts import Array

Link = Literal["softmax", "identity"]

FLOOR: Final = 1e-6
"""The least that a probability counts as before its logarithm is taken: one zero must not decide a row."""


def filled(P: Array, mask: Array) -> Array:
    """What is masked replaced by the mean of those who take part in the row; NaN where nobody does.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.

    Returns:
        `[M, N, K]`.

    Example:
        >>> P = np.array([[[0.2]], [[0.4]], [[np.nan]]])
        >>> filled(P, np.array([[True], [True], [False]])).ravel().round(2).tolist()
        [0.2, 0.4, 0.3]
    """
    if mask.all():
        return P
    there = mask.sum(axis=0)[:, None]
    total = np.where(mask[:, :, None], P, 0.0).sum(axis=0)
    mean = np.full(P.shape[1:], np.nan)
    np.divide(total, there, out=mean, where=there > 0)
    return np.where(mask[:, :, None], P, mean)


def side_by_side(P: Array) -> Array:
    """The columns of all members one beside the other, `[M, N, K]` → `[N, M K]`."""
    return np.ascontiguousarray(P.transpose(1, 0, 2)).reshape(P.shape[1], P.shape[0] * P.shape[2])


def without_first(P: Array) -> Array:
    """Probabilities without those of the first class, which are one less the others: `[M, N, K]` → `[M, N, K − 1]`."""
    return P[:, :, 1:]


def log_ratios(P: Array) -> Array:
    """`ln(p_k / p_1)`, k > 1, with p ≥ 1e-6: the logits up to what softmax does not see. `[M, N, K]` → `[M, N, K − 1]`.

    Example:
        >>> log_ratios(np.array([[[0.25, 0.75]]])).round(4).tolist()
        [[[1.0986]]]
    """
    logs = np.log(np.maximum(P, FLOOR))
    ratios: Array = logs[:, :, 1:] - logs[:, :, :1]
    return ratios


def linear_answer(X: Array, coef: Array, intercept: Array, link: Link) -> Array:
    """`link(X Wᵀ + b)`; softmax is `e^z_k / Σ_j e^z_j`.

    Args:
        X: `[N, D]`.
        coef: W, `[K, D]`.
        intercept: b, `[K]`; −∞ for a class that is never given.
        link: `softmax` for probabilities, `identity` for values.

    Returns:
        `[N, K]`.
    """
    z: Array = X @ coef.T + intercept
    if link == "identity":
        return z
    z = np.exp(z - z.max(axis=1, keepdims=True))
    whole: Array = z / z.sum(axis=1, keepdims=True)
    return whole
