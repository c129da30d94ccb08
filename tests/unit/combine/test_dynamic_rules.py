"""Rules of dynamic selection and nearest rows, by hand."""

from __future__ import annotations

import numpy as np

from cuvee.combine.des_p import des_p
from cuvee.combine.knora_e import knora_e
from cuvee.combine.knora_u import knora_u
from cuvee.combine.neighbours import nearest_rows, squared_distances
from cuvee.combine.ola import ola

ALL = np.ones((3, 1), bool)
HITS = np.array([[[1, 1, 0, 1]], [[0, 1, 1, 1]], [[1, 1, 0, 0]]], bool)
NEVER = np.zeros((3, 1, 4), bool)


def weights(found):
    return found.ravel().tolist()


def test_eliminate_takes_who_is_right_on_the_two_nearest():
    assert weights(knora_e(HITS, ALL)) == [1, 0, 1]
    assert weights(knora_e(NEVER, ALL)) == [1, 1, 1]


def test_eliminate_among_those_that_take_part():
    assert weights(knora_e(HITS, np.array([[False], [True], [True]]))) == [0, 0, 1]
    assert weights(knora_e(HITS, np.array([[False], [True], [False]]))) == [0, 1, 0]


def test_union_counts():
    assert weights(knora_u(HITS, ALL)) == [3, 3, 2]
    assert weights(knora_u(NEVER, ALL)) == [1, 1, 1]


def test_the_locally_most_accurate_share():
    assert weights(ola(HITS, ALL)) == [1, 1, 0]
    assert weights(ola(HITS, np.array([[False], [False], [True]]))) == [0, 0, 1]


def test_better_than_guessing():
    assert weights(des_p(HITS, ALL, 2)) == [1, 1, 0]  # 2 of 4 is as good as guessing
    assert weights(des_p(HITS, ALL, 3)) == [1, 1, 1]
    assert weights(des_p(NEVER, ALL, 2)) == [1, 1, 1]


def test_one_third_of_three_is_no_better_than_one_of_three_classes():
    assert weights(des_p(np.array([[[1, 0, 0]], [[1, 1, 0]]], bool), ALL[:2], 3)) == [0, 1]


def test_the_row_itself_is_at_distance_zero_however_large_its_numbers():
    rows = np.array([[1e9 + 1, 1e9], [1e9, 1e9], [1e9, 1e9 + 1]])
    assert np.diag(squared_distances(rows, rows)).tolist() == [0, 0, 0]
    assert nearest_rows(rows, rows, 1).ravel().tolist() == [0, 1, 2]


def test_no_rows_have_no_neighbours():
    assert nearest_rows(np.zeros((0, 2)), np.zeros((3, 2)), 2).shape == (0, 2)
