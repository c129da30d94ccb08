"""Rank mean: members of any scale made comparable by their ranks in a reference sample that is kept."""

from __future__ import annotations

import numpy as np

from cuvee.combine.mean import weighted_mean
from cuvee.combine.parts import Array, normalised


def reference_of(P: Array, mask: Array, size: int) -> Array:
    """What each member said of each class in the reference sample, in ascending order.

    Of more rows than `size` the order statistics at the middles of `size` equal parts are kept: no draw, no seed.

    Args:
        P: `[M, N, K]`, probabilities or scores; every member takes part in at least one row.
        mask: `[M, N]`.
        size: most values that are kept of a member and a class.

    Returns:
        `[M, K, R]`, R ≤ size; a member with fewer rows is filled up with NaN at the end.
    """
    kept = [_thinned(np.sort(values[there].T, axis=1), size) for values, there in zip(P, mask)]
    width = max(one.shape[1] for one in kept)
    return np.stack([np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=np.nan) for one in kept])


def _thinned(ordered: Array, size: int) -> Array:
    n = ordered.shape[1]
    return ordered if n <= size else ordered[:, ((np.arange(size) + 0.5) * n / size).astype(np.int64)]


def ranks(P: Array, mask: Array, reference: Array) -> Array:
    """The share of the reference sample that lies below, those that are equal counted half.

        r_mnk = (#{v < P_mnk} + #{v ≤ P_mnk}) / 2R_m,   v the reference of member m and class k

    A row's ranks depend on the reference and on nothing else: not on the rows that it comes with.

    Args:
        P: `[M, N, K]`, in the order of members and classes of the reference.
        mask: `[M, N]`.
        reference: `[M, K, R]`, ascending, NaN at the end.

    Returns:
        `[M, N, K]` in [0, 1]; 0 where masked.
    """
    found = np.zeros(P.shape)
    for m, k in np.ndindex(len(P), P.shape[2]):
        known, there = reference[m, k], mask[m]
        found[m, there, k] = _rank(P[m, there, k], known[~np.isnan(known)])
    return found


def _rank(values: Array, known: Array) -> Array:
    below = np.searchsorted(known, values, "left")
    upto = below.copy()
    met = known[np.minimum(below, len(known) - 1)] == values
    upto[met] = np.searchsorted(known, values[met], "right")  # elsewhere nothing is equal, and to look again is slow
    rank: Array = (below + upto) / (2 * len(known))
    return rank


def rank_mean(P: Array, mask: Array, reference: Array, weights: Array | None = None) -> Array:
    """The weighted mean of the ranks, made to sum to one in every row.

    With two classes whose entries sum to one the ranks do so themselves. A row that ranks lowest in every class with
    every member has no shares; there all classes get 1/K.

    Args:
        P: `[M, N, K]`, probabilities or scores.
        mask: `[M, N]`.
        reference: of `reference_of`.
        weights: `[M]` or `[M, N]`, ≥ 0; all count the same without them.

    Returns:
        `[N, K]`, rows that sum to one: an order, not calibrated probabilities.

    Raises:
        InputError: `no-member`.
    """
    mean = weighted_mean(ranks(P, mask, reference), mask, weights)
    return normalised(mean, lambda: np.full(mean.shape, 1 / mean.shape[1]))
