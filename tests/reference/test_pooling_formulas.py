"""The slow formulas of combined predictions, held to numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from tests.reference import pooling_formulas as slow


def test_votes_by_hand() -> None:
    said = [[0.6, 0.4, 0.0], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]]
    assert slow.vote_shares(said, [1, 1, 1]) == pytest.approx([1.5 / 3, 1.5 / 3, 0])
    assert slow.vote_shares(said, [2, 1, 1]) == pytest.approx([2.5 / 4, 1.5 / 4, 0])
    assert slow.winner([0.5, 0.5, 0.0], [[0.2, 0.3, 0.5]]) == 1
    assert slow.winner([0.5, 0.5, 0.0], []) == 0


def test_a_product_by_hand() -> None:
    said = [[0.8, 0.2], [0.5, 0.5]]
    assert slow.product(said, 1.0, None, 1e-9) == pytest.approx([0.8, 0.2])
    # √(.8·.5) : √(.2·.5) = 2 : 1
    assert slow.product(said, None, None, 1e-9) == pytest.approx([2 / 3, 1 / 3])
    # .4/.25 : .1/.75 = 12 : 1
    assert slow.product(said, 1.0, [0.25, 0.75], 1e-9) == pytest.approx([12 / 13, 1 / 13])
    assert slow.product([[1.0, 0.0]], 1.0, None, 0.5) == pytest.approx([2 / 3, 1 / 3])


def test_ranks_by_hand() -> None:
    assert [slow.rank(v, [1, 2, 2, 3]) for v in (0, 1, 2, 2.5, 9)] == [0, 0.125, 0.5, 0.75, 1]
    assert slow.rank_mean([[2, 0]], [[[1, 2, 3], [5, 6, 7]]]) == [1.0, 0.0]
    assert slow.rank_mean([[0, 0]], [[[1, 2, 3], [5, 6, 7]]]) == [0.5, 0.5]


def test_order_statistics_by_hand() -> None:
    said = [[1.0], [2.0], [4.0], [100.0]]
    assert slow.median(said) == [3.0]
    assert slow.median(said[:3]) == [2.0]
    assert slow.trimmed_mean(said, 1) == [3.0]
    assert slow.trimmed_mean(said, 0) == [26.75]


def test_log_odds_by_hand() -> None:
    assert slow.log_odds_weight(3, 3, 2) == pytest.approx(math.log(7))  # 3.5/4 against .5/4
    assert slow.log_odds_weight(3, 3, 3) == pytest.approx(math.log(14))
    assert slow.log_odds_weight(0, 3, 2) == 0.0


def test_a_temperature_by_hand() -> None:
    assert slow.tempered([0.9, 0.1], 2.0) == pytest.approx([0.75, 0.25])
    # right three times of four: the best probability is ¾, which 0.9 becomes at T = 2
    assert slow.best_temperature([[0.9, 0.1]] * 4, [0, 0, 0, 1]) == pytest.approx(2.0, rel=1e-4)
    assert slow.log_loss([[0.9, 0.1]], [1], 2.0) == pytest.approx(math.log(4))
