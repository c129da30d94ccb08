"""Product of experts: probabilities multiplied, or the geometric mean of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.combine.parts import Array, added, check_covered

FLOOR: Final = 1e-6
"""What a probability counts as at least: one member's zero would forbid a class to all others."""


def product(
    P: Array, mask: Array, exponent: float | None = None, prior: Array | None = None, floor: float = FLOOR
) -> Array:
    """The product of what members say, each to the power α.

        ln q_nk = α Σ_m [mask_mn] ln max(P_mnk, ε) − (α M_n − 1) ln π_k,   p_n = softmax(ln q_n)

    M_n is the number of members that take part in the row. α = 1/M_n gives the geometric mean (log pooling), in which
    the prior cancels. With α = 1 members count as independent witnesses; each has the prior π in it, so all but one
    are divided out again.

    Args:
        P: `[M, N, K]`, probabilities.
        mask: `[M, N]`.
        exponent: α > 0; 1/M_n without it.
        prior: `[K]`, > 0, sum one; no correction without it.
        floor: ε in (0, 1).

    Returns:
        `[N, K]`, rows that sum to one.

    Raises:
        InputError: `no-member`.

    Source:
        Hinton 2002, Training products of experts by minimizing contrastive divergence, eq. 1; Kittler et al. 1998,
        On combining classifiers, eq. 7 (the prior); Genest and Zidek 1986, Combining probability distributions (log
        pooling).

    Example:
        >>> P, both = np.array([[[0.8, 0.2]], [[0.8, 0.2]]]), np.ones((2, 1), bool)
        >>> product(P, both).round(6).tolist(), product(P, both, exponent=1.0).round(6).tolist()
        ([[0.8, 0.2]], [[0.941176, 0.058824]])
    """
    check_covered(mask)
    present = added(mask.astype(np.float64))[:, None]
    logs = np.log(np.maximum(np.where(mask[:, :, None], P, 1.0), floor))  # what is absent adds ln 1
    effective = np.ones_like(present) if exponent is None else exponent * present
    total = added(logs) / present * effective
    return softmax(total if prior is None else total - (effective - 1) * np.log(prior))


def softmax(values: Array) -> Array:
    """`exp(v_k) / Σ_j exp(v_j)` over the last dimension, without overflow."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares
