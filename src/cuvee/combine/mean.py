"""Soft vote: the weighted mean of what members say."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array, shares


def weighted_mean(P: Array, mask: Array, weights: Array | None = None) -> Array:
    """The mean over those who take part, `Σ_m s_mn P_mn` with the shares of `shares`.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.
        weights: `[M]` or `[M, N]`, ≥ 0; all count the same without them.

    Returns:
        `[N, K]`; rows of probabilities sum to one.

    Raises:
        InputError: `no-member`.
    """
    share = shares(np.ones(len(P)) if weights is None else weights, mask)
    whole = np.zeros(P.shape[1:])
    for values, part in zip(P, share):  # member by member: what is masked may be NaN, and 0 · NaN is no 0
        np.add(whole, values * part[:, None], out=whole, where=(part > 0)[:, None])
    return whole
