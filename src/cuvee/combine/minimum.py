"""Minimum: the smallest entry that any member has."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array, check_covered


def minimum(P: Array, mask: Array) -> Array:
    """`min_m P_mnk` over those who take part, entry by entry.

    Args:
        P: `[M, N, K]`.
        mask: `[M, N]`.

    Returns:
        `[N, K]`, not made to sum to one.

    Raises:
        InputError: `no-member`.

    Source:
        Kittler et al. 1998, On combining classifiers, section 3.
    """
    check_covered(mask)
    found: Array = np.where(mask[:, :, None], P, np.inf).min(axis=0)
    return found
