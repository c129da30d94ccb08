"""KNORA-Eliminate: who is right on all of the nearest rows speaks."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array


def knora_e(hits: Array, mask: Array) -> Array:
    """Weight 1 for members that are right on all of the j nearest rows, j as large as there is such a member.

        r_mn = how many of the nearest rows m is right on before its first error;  w_mn = [r_mn = max_m r_mn > 0]

    If nobody is right on the very nearest row, all speak.

    Args:
        hits: bool `[M, N, k]`: whether m is right on the neighbours of n, the nearest first.
        mask: bool `[M, N]`: who takes part in the row itself.

    Returns:
        `[M, N]`.

    Example:
        >>> hits = np.array([[[True, True, False]], [[True, False, True]], [[False, True, True]]])
        >>> knora_e(hits, np.ones((3, 1), bool)).ravel().tolist()
        [1.0, 0.0, 0.0]

    Source: Ko, Sabourin, Britto 2008, From dynamic classifier selection to dynamic ensemble selection, section 3.
    """
    run = np.where(mask, np.cumprod(hits, axis=2, dtype=np.int64).sum(axis=2), 0)
    best = run.max(axis=0)
    weights: Array = ((run == best) & mask).astype(np.float64)
    return weights
