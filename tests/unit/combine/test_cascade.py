"""Cascades by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuvee.combine.cascade import cascade, confidence, stages
from cuvee.combine.thresholds import Stakes, fitted_cascade, fitted_thresholds
from cuvee.errors import InputError


def test_how_sure():
    P = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(confidence(P, "top"), [0.7, 1, 1 / 3])
    np.testing.assert_allclose(confidence(P, "margin"), [0.5, 1, 0], atol=1e-15)
    half = 1 + (0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3)
    np.testing.assert_allclose(confidence(P, "entropy"), [half, 1, 0], atol=1e-15)


def test_the_first_that_is_sure_answers_else_the_last_that_takes_part():
    sure = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0]], bool)
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 1]], bool)
    assert stages(sure, mask).tolist() == [0, 1, 1, 1]
    with pytest.raises(InputError, match="row 1 has none"):
        stages(sure, mask & (np.arange(4) != 1))


def test_reaching_the_threshold_is_enough():
    P = np.array([[[0.75, 0.25]], [[0.0, 1.0]]])
    mask = np.ones((2, 1), bool)
    assert cascade(P, mask, np.array([0.75])).tolist() == [[0.75, 0.25]]
    assert cascade(P, mask, np.array([np.nextafter(0.75, 1)])).tolist() == [[0, 1]]


def test_a_threshold_by_hand():
    """Four rows; the small one, cost 1, is right where it is sure; the large one, cost 9, is always right.

    Mean cost 1 + 9 · share that goes on: with at most 5.5, half of the rows may, the two that it is least sure of.
    """
    sure = np.array([[0.9, 0.8, 0.7, 0.6], [1, 1, 1, 1]])
    losses = np.array([[0.0, 0, 1, 1], [0, 0, 0, 0]])
    stakes = Stakes(sure, np.ones((2, 4), bool), losses, np.array([1.0, 9.0]), "cost", 5.5)
    assert fitted_thresholds(stakes).tolist() == [0.8]
    assert stakes.value(np.array([0.8])) == (0, 0, 5.5)
    tight = Stakes(sure, stakes.mask, losses, stakes.costs, "cost", 5.4)
    assert fitted_thresholds(tight).tolist() == [0.7]
    assert tight.value(np.array([0.7])) == (0, 0.25, 3.25)


def test_rows_of_the_same_confidence_go_on_together_or_not_at_all():
    sure = np.array([[0.6, 0.6], [1, 1]])
    losses = np.array([[1.0, 1], [0, 0]])
    stakes = Stakes(sure, np.ones((2, 2), bool), losses, np.array([1.0, 2.0]), "cost", 2.5)
    assert fitted_thresholds(stakes).tolist() == [0.6]  # one of the two could be paid, but not this one or that


def test_thresholds_of_their_own_are_better_than_a_shared_one():
    """The first is right where it is surer than .8, the second wherever it is surer than .5; the third never pays."""
    sure = np.array([[0.9, 0.7, 0.7], [0, 0.6, 0.4], [0, 0, 0]])
    losses = np.array([[0.0, 1, 1], [0, 0, 1], [0, 0, 0]])
    stakes = Stakes(sure, np.ones((3, 3), bool), losses, np.array([1.0, 1.0, 10.0]), "loss", 0.0)
    taus = fitted_thresholds(stakes)
    assert stakes.ends(taus).tolist() == [0, 1, 2]
    assert stakes.value(taus)[1] == pytest.approx((1 + 2 + 12) / 3)


def test_who_never_decides_is_not_asked():
    sure = np.array([[0.9, 0.2], [0.5, 0.5], [0, 0]])
    losses = np.array([[0.0, 1], [1, 1], [0, 0]])  # the second is always wrong
    stakes = Stakes(sure, np.ones((3, 2), bool), losses, np.array([1.0, 2.0, 4.0]), "loss", 0.0)
    turns, taus = fitted_cascade(stakes)
    assert turns == (0, 2)
    assert stakes.of(turns).value(taus) == (0, (1 + 5) / 2, 0)


def test_a_member_that_alone_predicts_a_row_stays():
    mask = np.array([[True, False], [True, True]])
    stakes = Stakes(np.array([[0.9, -np.inf], [0, 0]]), mask, np.zeros((2, 2)), np.array([1.0, 9.0]), "loss", 0.0)
    turns, taus = fitted_cascade(stakes)
    assert turns == (0, 1)
    assert stakes.value(taus)[1] == (1 + 9) / 2


def test_a_threshold_between_equal_confidences_is_no_choice():
    """The large one mends the first of two rows at .6 and spoils the second: to send all on is better than none."""
    sure = np.array([[0.6, 0.6, 0.9], [1, 1, 1]])
    losses = np.array([[1.0, 0, 0.5], [0, 1, 0]])
    stakes = Stakes(sure, np.ones((2, 3), bool), losses, np.array([1.0, 1.0]), "cost", 9.0)
    assert fitted_thresholds(stakes).tolist() == [np.inf]
