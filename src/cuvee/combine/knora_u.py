"""KNORA-Union: everybody has a vote for each of the nearest rows that they are right on."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array


def knora_u(hits: Array, mask: Array) -> Array:
    """`w_mn = Σ_j hits_mnj`; where nobody is right on any, all count the same.

    Args:
        hits: bool `[M, N, k]`: whether m is right on the neighbours of n.
        mask: bool `[M, N]`: who takes part in the row itself.

    Returns:
        `[M, N]`.

    Example:
        >>> hits = np.array([[[True, True, False]], [[False, False, True]]])
        >>> knora_u(hits, np.ones((2, 1), bool)).ravel().tolist()
        [2.0, 1.0]

    Source: Ko, Sabourin, Britto 2008, section 3.
    """
    votes = np.where(mask, hits.sum(axis=2), 0)
    weights: Array = np.where(votes.any(axis=0), votes, mask).astype(np.float64)
    return weights
