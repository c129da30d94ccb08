"""Median: the middle of what members say, entry by entry."""

from __future__ import annotations

import numpy as np

from cuvee.combine.ordered import in_order
from cuvee.combine.parts import Array


def median(P: Array, mask: Array) -> Array:
    """The middle value of those who take part; of an even number the mean of the two in the middle.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.

    Returns:
        `[N, K]`, not made to sum to one.

    Raises:
        InputError: `no-member`.

    Example:
        >>> median(np.array([[[1.0]], [[100.0]], [[3.0]]]), np.ones((3, 1), bool)).tolist()
        [[3.0]]
    """
    ordered, present = in_order(P, mask)
    rows = np.arange(P.shape[1])
    low, high = ordered[(present - 1) // 2, rows], ordered[present // 2, rows]
    middle: Array = low + (high - low) / 2
    return middle
