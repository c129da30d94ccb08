"""Diversity of members against slow formulas written from their definitions, and hand-worked values."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.predict.diversity import correlations, diversity, q_statistics
from tests.support.banks import bank_of, regression_bank, unmasked


def slow_q(right: list[bool], other: list[bool]) -> float:
    """Yule's Q, counted row by row."""
    count = {(a, b): 0 for a in (True, False) for b in (True, False)}
    for pair in zip(right, other):
        count[pair] += 1
    same, unlike = count[True, True] * count[False, False], count[True, False] * count[False, True]
    return (same - unlike) / (same + unlike) if same + unlike else math.nan


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 20))
def test_tables_are_what_the_definitions_say(seed: int, n: int) -> None:
    bank = unmasked(bank_of("abc", "".join(map(chr, range(97, 97 + n))), seed=seed), 0, 0)
    truth = bank._known_truth()
    q, correlation = q_statistics(bank), correlations(bank)
    for one, two in ((0, 1), (1, 2), (0, 2)):
        both = [i for i in range(n) if bank.mask[one, i] and bank.mask[two, i]]
        right = [[bool(bank.P[m, i].argmax() == truth[i]) for i in both] for m in (one, two)]
        np.testing.assert_allclose(q[one, two], slow_q(*right), equal_nan=True)
        x, y = ([float(v) for i in both for v in bank.P[m, i]] for m in (one, two))
        assert correlation[one, two] == pytest.approx(statistics.correlation(x, y), abs=1e-9)
    np.testing.assert_array_equal(q, q.T)


def test_q_by_hand() -> None:
    # right: a on rows 0 1 2, b on rows 0 1 3 of 5: n11 = 2, n00 = 1, n10 = 1, n01 = 1 → (2 - 1) / (2 + 1)
    P = np.zeros((2, 5, 2))
    for member, rows in enumerate(((0, 1, 2), (0, 1, 3))):
        P[member, :, 1] = 1
        P[member, rows, :] = [1, 0]
    bank = replace(bank_of("ab", "rstuv", ("x", "y")), P=P, truth=np.zeros(5, np.int64))
    assert q_statistics(bank)[0, 1] == pytest.approx(1 / 3)
    assert diversity(bank).mean_q == pytest.approx(1 / 3)


def test_members_that_say_the_same_are_noted_in_groups() -> None:
    bank = bank_of("abcd")
    bank.P[2] = bank.P[0]
    bank.P[3] = bank.P[0] + 1e-6
    found = diversity(bank)
    assert found.alike == (("a", "c", "d"),)
    assert "a, c, d say the same" in found.notes[0]


def test_unlike_members_have_no_note() -> None:
    assert diversity(bank_of("abcd")).notes == ()


def test_a_constant_member_has_no_correlation() -> None:
    found = correlations(regression_bank([[1, 1, 1], [1, 2, 3], [3, 2, 1]], [1, 2, 3]))
    assert math.isnan(found[0, 1])
    assert found[1, 2] == -1


def test_regressions_and_banks_without_truth_have_no_q() -> None:
    assert diversity(regression_bank([[1, 2], [2, 1]], [1, 2])).q is None
    assert math.isnan(diversity(bank_of(truth=None)).mean_q)
