"""Overall local accuracy: who is right most often nearby speaks."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array


def ola(hits: Array, mask: Array) -> Array:
    """Weight 1 for the member with the most hits among the neighbours; equally good ones share.

    Woods et al. choose one of equally good members by going on to other members until a majority decides; here their
    mean speaks.

    Args:
        hits: bool `[M, N, k]`: whether m is right on the neighbours of n.
        mask: bool `[M, N]`: who takes part in the row itself.

    Returns:
        `[M, N]`.

    Example:
        >>> hits = np.array([[[True, True, False]], [[False, False, True]]])
        >>> ola(hits, np.ones((2, 1), bool)).ravel().tolist()
        [1.0, 0.0]

    Source: Woods, Kegelmeyer, Bowyer 1997, Combination of Multiple Classifiers Using Local Accuracy Estimates.
    """
    right = np.where(mask, hits.sum(axis=2), -1)
    weights: Array = ((right == right.max(axis=0)) & mask).astype(np.float64)
    return weights
