"""Classes that a member does not know: the formula in plain floats, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.combine import fill_unknown


def by_hand(P, mask, known, wanting):
    """The page's formula, entry by entry."""
    M, N, K = len(P), len(P[0]), len(P[0][0])
    filled = [[list(P[m][n]) for n in range(N)] for m in range(M)]
    for n in range(N):
        said = []
        for k in range(K):
            heard = [P[j][n][k] for j in range(M) if mask[j][n] and known[j][k]]
            said.append(sum(heard) / len(heard) if heard else 0.0)
        for m in range(M):
            if not (wanting[m] and mask[m][n]):
                continue
            total = sum(said[k] for k in range(K) if not known[m][k])
            for k in range(K):
                if known[m][k]:
                    filled[m][n][k] = P[m][n][k] * (1 - min(total, 1.0))
                else:
                    filled[m][n][k] = said[k] / max(total, 1.0)
    return filled


def test_worked_by_hand() -> None:
    """The other says 0.2 of c: the member that knows a and b keeps 0.8 for them."""
    P = np.array([[[0.5, 0.3, 0.2]], [[0.6, 0.4, np.nan]]])
    known = np.array([[True, True, True], [True, True, False]])
    found = fill_unknown(P, np.ones((2, 1), bool), known, np.array([False, True]))
    np.testing.assert_allclose(found, [[[0.5, 0.3, 0.2]], [[0.48, 0.32, 0.2]]], atol=1e-15)


def test_means_of_different_members_that_come_to_more_than_one_are_scaled() -> None:
    """One knows a and b, one a and c; of b the mean is 0.8, of c 0.9: the third keeps nothing for a."""
    P = np.array([[[0.2, 0.8, np.nan]], [[0.1, np.nan, 0.9]], [[1.0, np.nan, np.nan]]])
    known = ~np.isnan(P[:, 0])
    found = fill_unknown(P, np.ones((3, 1), bool), known, np.ones(3, bool))
    np.testing.assert_allclose(found[2, 0], [0.0, 0.8 / 1.7, 0.9 / 1.7], atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-12)


def test_a_class_that_nobody_knows_gets_nothing() -> None:
    P = np.array([[[0.5, 0.5, np.nan]]])
    found = fill_unknown(P, np.ones((1, 1), bool), np.array([[True, True, False]]), np.array([True]))
    assert found.tolist() == [[[0.5, 0.5, 0.0]]]


def test_members_that_are_masked_are_not_heard_and_stay_as_they_were() -> None:
    P = np.array([[[np.nan] * 3, [0.2, 0.2, 0.6]], [[0.5, 0.5, np.nan], [0.5, 0.5, np.nan]]])
    mask = np.array([[False, True], [True, True]])
    known = np.array([[True] * 3, [True, True, False]])
    found = fill_unknown(P, mask, known, np.array([False, True]))
    assert np.isnan(found[0, 0]).all()
    np.testing.assert_allclose(found[1], [[0.5, 0.5, 0.0], [0.2, 0.2, 0.6]], atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.integers(2, 4))
def test_as_in_plain_floats(seed, members, rows, classes) -> None:
    rng = np.random.default_rng(seed)
    known = rng.random((members, classes)) < 0.6
    known[np.arange(members), rng.integers(classes, size=members)] = True
    mask = rng.random((members, rows)) < 0.8
    P = np.where(known[:, None], rng.random((members, rows, classes)), 0.0)
    P = np.where(known[:, None], P / P.sum(axis=2, keepdims=True), np.nan)
    P[~mask] = np.nan
    wanting = rng.random(members) < 0.7
    found = fill_unknown(P, mask, known, wanting)
    np.testing.assert_allclose(found, by_hand(P.tolist(), mask, known, wanting), atol=1e-12)
    sums = found[wanting][mask[wanting]].sum(axis=1)
    assert sums == pytest.approx(np.ones(len(sums)), abs=1e-9), "rows of filled members sum to one"
