"""Hard vote: every member has one vote, for the class that it holds most probable."""

from __future__ import annotations

import numpy as np

from cuvee.combine.mean import weighted_mean
from cuvee.combine.parts import Array


def ballots(P: Array, mask: Array) -> Array:
    """The vote of each member on each row.

        b_mnk = [P_mnk = max_j P_mnj] / (number of classes with that largest entry)

    A member that holds several classes equally probable splits its vote among them: the first of them is not chosen by
    accident of the order.

    Args:
        P: `[M, N, K]`, probabilities or scores; only their order within a row counts.
        mask: `[M, N]`.

    Returns:
        `[M, N, K]`, sum one where the member takes part, else 0.
    """
    said = np.where(mask[:, :, None], P, -np.inf)
    top = (said == said.max(axis=2, keepdims=True)) & mask[:, :, None]
    votes: Array = top / np.maximum(top.sum(axis=2, keepdims=True), 1)
    return votes


def hard_vote(P: Array, mask: Array, weights: Array | None = None) -> Array:
    """The share of the votes that each class has, `Σ_m s_mn b_mnk`.

    Ties are left as they are; `combine.ties` settles them.

    Args:
        P: `[M, N, K]`, probabilities or scores.
        mask: `[M, N]`.
        weights: `[M]` or `[M, N]`, ≥ 0; one vote each without them.

    Returns:
        `[N, K]`, rows that sum to one.

    Raises:
        InputError: `no-member`.

    Example:
        >>> P = np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.3, 0.7]]])
        >>> hard_vote(P, np.ones((3, 1), bool), np.array([2.0, 1.0, 1.0])).tolist()
        [[0.5, 0.5]]
    """
    return weighted_mean(ballots(P, mask), mask, weights)
