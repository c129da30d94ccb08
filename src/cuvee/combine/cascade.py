"""Cascade: members in order, until one is sure enough."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from cuvee.combine.parts import Array, check_covered

Confidence = Literal["top", "margin", "entropy"]


def confidence(P: Array, how: Confidence) -> Array:
    """How sure probabilities are, in [0, 1] but for rounding: `[…, K]` → `[…]`; NaN where they are.

        top      max_k p_k
        margin   the largest less the second
        entropy  1 + Σ_k p_k ln p_k / ln K

    Example:
        >>> p = np.array([0.5, 0.25, 0.25])
        >>> [round(float(confidence(p, how)), 4) for how in ("top", "margin", "entropy")]
        [0.5, 0.25, 0.0536]
    """
    if how == "top":
        top: Array = P.max(axis=-1)
        return top
    if how == "margin":
        two = np.sort(P, axis=-1)[..., -2:]
        gap: Array = two[..., 1] - two[..., 0]
        return gap
    logs = np.log(np.where(P > 0, P, 1.0))
    sure: Array = 1 + (P * logs).sum(axis=-1) / math.log(P.shape[-1])
    return sure


def stages(sure: Array, mask: Array) -> Array:
    """Whose answer counts: the first that takes part and is sure, else the last that takes part.

    Args:
        sure: bool `[M, N]`, members in the order that they are asked in.
        mask: bool `[M, N]`.

    Returns:
        int64 `[N]`.

    Raises:
        InputError: `no-member`.

    Example:
        >>> stages(np.array([[False, True], [True, True]]), np.ones((2, 2), bool)).tolist()
        [1, 0]
    """
    check_covered(mask)
    stop = sure & mask
    last = len(mask) - 1 - mask[::-1].argmax(axis=0)
    at: Array = np.where(stop.any(axis=0), stop.argmax(axis=0), last)
    return at


def cascade(P: Array, mask: Array, thresholds: Array, how: Confidence = "top") -> Array:
    """The answer of the first member whose confidence reaches its threshold, `c_m(P_mn) ≥ τ_m`; else of the last.

    Args:
        P: `[M, N, K]`, members in the order that they are asked in.
        mask: `[M, N]`.
        thresholds: τ, `[M − 1]`; +∞ for a member that never decides.
        how: c.

    Returns:
        `[N, K]`.

    Raises:
        InputError: `no-member`.

    Source: Viola and Jones 2001 for stages; Chow 1970, On optimum recognition error and reject tradeoff, for the
    threshold on the largest probability.
    """
    sure = confidence(P[:-1], how) >= thresholds[:, None]
    at = stages(np.concatenate([sure, np.zeros((1, P.shape[1]), bool)]), mask)
    answers: Array = P[at, np.arange(P.shape[1])]
    return answers
