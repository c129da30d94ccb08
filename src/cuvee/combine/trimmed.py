"""Trimmed mean: the mean without the smallest and the largest entries."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.combine.ordered import in_order
from cuvee.combine.parts import Array, added

NEAR: Final = 1e-9
"""0.1 · 10 members is one member, though the float may come out just below."""


def trimmed_mean(P: Array, mask: Array, cut: float) -> Array:
    """The mean of what is left when ⌊cut · M_n⌋ entries are taken off at each end.

    M_n is the number of members that take part in the row. With fewer than 1 / cut of them nothing is taken off.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.
        cut: share taken off at each end, [0, ½).

    Returns:
        `[N, K]`, not made to sum to one.

    Raises:
        InputError: `no-member`.

    Source:
        Tukey 1962, The future of data analysis.

    Example:
        >>> trimmed_mean(np.array([[[1.0]], [[2.0]], [[3.0]], [[100.0]]]), np.ones((4, 1), bool), 0.25).tolist()
        [[2.5]]
    """
    ordered, present = in_order(P, mask)
    off = np.floor(cut * present + NEAR).astype(np.int64)
    place = np.arange(len(P))[:, None]
    kept = (place >= off) & (place < present - off)
    mean: Array = added(np.where(kept[:, :, None], ordered, 0.0)) / added(kept.astype(np.float64))[:, None]
    return mean
