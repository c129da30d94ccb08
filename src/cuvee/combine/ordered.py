"""What members say, in ascending order, entry by entry: what median and trimmed mean are read off."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array, check_covered


def in_order(P: Array, mask: Array) -> tuple[Array, Array]:
    """Entries sorted over the members, those that are masked last.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.

    Returns:
        The sorted entries `[M, N, K]`, +∞ after those that take part, and how many take part, `[N]`.

    Raises:
        InputError: `no-member`.
    """
    check_covered(mask)
    return np.sort(np.where(mask[:, :, None], P, np.inf), axis=0), mask.sum(axis=0)
