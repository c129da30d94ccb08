"""Ballots, ties, trimmed entries and sums over members: what does not show through a combiner."""

from __future__ import annotations

import numpy as np

from cuvee.combine import added, ballots, normalised, settled, tied, trimmed_mean
from cuvee.predict.combiners import Linear


def test_who_is_masked_has_no_ballot() -> None:
    P = np.array([[[0.5, 0.5, 0.0]], [[np.nan] * 3]])
    assert ballots(P, np.array([[True], [False]])).tolist() == [[[0.5, 0.5, 0.0]], [[0.0, 0.0, 0.0]]]


def test_shares_that_differ_by_rounding_alone_are_tied() -> None:
    assert 0.1 + 0.2 > 0.3
    assert tied(np.array([[0.1 + 0.2, 0.3, 0.4 - 1e-9], [0.5, 0.5 - 1e-9, 0.0]])).tolist() == [
        [False, False, True],
        [True, False, False],
    ]
    assert tied(np.array([[0.1 + 0.2, 0.3, 0.0]])).tolist() == [[True, True, False]]


def test_the_winner_of_a_tie_is_ahead_and_rows_still_sum_to_one() -> None:
    made = settled(np.array([[0.4, 0.4, 0.2], [0.4, 0.35, 0.25]]), [np.array([0.0, 1.0, 2.0])])
    assert made[0].argmax() == 1
    assert np.float32(made[0, 1]) > np.float32(made[0, 0])  # in what most things are stored in, too
    assert made[1].tolist() == [0.4, 0.35, 0.25]
    np.testing.assert_allclose(made.sum(axis=1), 1, rtol=1e-15)


def test_a_share_of_many_members_is_cut_off_to_the_member() -> None:
    assert 0.29 * 100 < 29
    values = np.zeros((100, 1, 1))
    values[:29] = -1e6
    assert trimmed_mean(values, np.ones((100, 1), bool), 0.29).tolist() == [[0.0]]


def test_a_sum_over_members_is_the_same_for_one_row_as_for_many() -> None:
    values = np.random.default_rng(0).random((37, 200)) ** 9
    assert added(values).tobytes() == np.concatenate([added(values[:, n : n + 1]) for n in range(200)]).tobytes()


def test_a_row_in_which_nothing_is_left_becomes_another() -> None:
    made = normalised(np.array([[1.0, 3.0], [0.0, 0.0]]), lambda: np.array([[9.0, 9.0], [0.5, 0.5]]))
    assert made.tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_notes_of_a_fit_are_those_of_the_mean() -> None:
    assert Linear(("a",), np.ones(1)).notes == ()
    assert Linear(("a",), np.ones(1), {"notes": ["odd"]}).notes == ("odd",)
