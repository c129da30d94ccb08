"""DES-P: who is better nearby than guessing speaks."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array


def des_p(hits: Array, mask: Array, classes: int) -> Array:
    """`w_mn = [share of hits_mn > 1/K]`; where that is nobody, all speak.

    Args:
        hits: bool `[M, N, k]`: whether m is right on the neighbours of n.
        mask: bool `[M, N]`: who takes part in the row itself.
        classes: K.

    Returns:
        `[M, N]`.

    Example:
        >>> hits = np.array([[[True, True, False]], [[False, False, True]]])
        >>> des_p(hits, np.ones((2, 1), bool), 2).ravel().tolist()
        [1.0, 0.0]

    Source: Woloszynski, Kurzynski, Podsiadlo, Stachowiak 2012, A measure of competence based on random classification
    for dynamic ensemble selection: competence is the accuracy nearby less that of a random classifier.
    """
    right = hits.sum(axis=2) * classes > hits.shape[2]  # in whole numbers: 1/K is no exact float
    better = right & mask
    weights: Array = np.where(better.any(axis=0), better, mask).astype(np.float64)
    return weights
