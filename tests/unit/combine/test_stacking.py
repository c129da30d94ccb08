"""What a stack looks at, by hand."""

from __future__ import annotations

import math

import numpy as np

from cuvee.combine.stacking import filled, linear_answer, log_ratios, side_by_side, without_first


def test_what_is_masked_is_the_mean_of_the_others():
    P = np.array([[[0.2, 0.8]], [[0.6, 0.4]], [[np.nan, np.nan]]])
    np.testing.assert_allclose(filled(P, np.array([[True], [True], [False]]))[2], [[0.4, 0.6]])
    assert np.isnan(filled(P, np.zeros((3, 1), bool))).all()


def test_a_zero_does_not_become_infinite():
    found = log_ratios(np.array([[[0.0, 1.0]], [[0.25, 0.75]]]))
    np.testing.assert_allclose(found.ravel(), [math.log(1e6), math.log(3)])


def test_members_stand_side_by_side():
    P = np.arange(12.0).reshape(2, 3, 2)  # two members, three rows, two classes
    assert side_by_side(P).tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert side_by_side(without_first(P)).tolist() == [[1, 7], [3, 9], [5, 11]]


def test_a_class_that_is_never_given_has_probability_zero():
    found = linear_answer(np.zeros((1, 2)), np.zeros((3, 2)), np.array([0.0, -np.inf, math.log(3)]), "softmax")
    np.testing.assert_allclose(found, [[0.25, 0, 0.75]])
