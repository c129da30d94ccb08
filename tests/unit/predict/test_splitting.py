"""Rows are split into what is learned from and what is asked about; never both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import LeaveOneOut, RepeatedKFold

from cuvee.errors import CuveeError
from cuvee.predict.splitting import Fold, folds_of

TRUTH = np.repeat([0, 1, 2], [12, 9, 9])


def refused(cv: Any, **other: Any) -> str:
    with pytest.raises(CuveeError) as caught:
        folds_of(cv, TRUTH, "classification", **other)
    return f"{caught.value.code}: {caught.value}"


def asked(folds: list[Fold]) -> list[int]:
    return sorted(row for fold in folds for row in fold.test.tolist())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_row_is_asked_about_once(task: Any) -> None:
    folds = folds_of(5, TRUTH, task)
    assert len(folds) == 5
    assert asked(folds) == list(range(30))
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(30))


def test_classes_are_in_every_fold_in_their_shares() -> None:
    assert [np.bincount(TRUTH[fold.test]).tolist() for fold in folds_of(3, TRUTH, "classification")] == [[4, 3, 3]] * 3


def test_the_seed_shuffles() -> None:
    one, again, other = (folds_of(3, TRUTH, "classification", seed=seed)[0].test.tolist() for seed in (0, 0, 1))
    assert one == again != other
    assert one != sorted(range(10))


def test_classes_of_fewer_rows_than_folds_are_taken_without_a_warning() -> None:
    folds = folds_of(5, np.array([0] * 8 + [1] * 2), "classification")
    assert asked(folds) == list(range(10))
    assert asked(folds_of(4, np.array([0, 1, 2, 3]), "classification")) == [0, 1, 2, 3]


@pytest.mark.parametrize("cv", [3, "group:3"])
def test_a_group_is_on_one_side(cv: Any) -> None:
    groups = list("abcdefghij" * 3)
    folds = folds_of(cv, TRUTH, "classification", groups=groups)
    assert asked(folds) == list(range(30))
    for fold in folds:
        assert {groups[i] for i in fold.train}.isdisjoint(groups[i] for i in fold.test)


def test_a_number_of_numpy_is_a_number() -> None:
    for given, plain in zip(folds_of(np.int64(3), TRUTH, "classification"), folds_of(3, TRUTH, "classification")):
        np.testing.assert_array_equal(given.test, plain.test)


def test_time_learns_from_what_was_before() -> None:
    folds = folds_of("time:4", TRUTH, "classification")
    assert len(folds) == 4
    assert all(fold.train.max() < fold.test.min() for fold in folds)
    assert asked(folds) == list(range(6, 30))
    assert len(folds_of("time", TRUTH, "regression")) == 5


def test_a_splitter_and_pairs_are_taken() -> None:
    assert len(folds_of(LeaveOneOut(), TRUTH, "classification")) == 30
    assert asked(folds_of(RepeatedKFold(n_splits=3, n_repeats=2, random_state=0), TRUTH, "regression")) == sorted(
        [*range(30)] * 2
    )
    pairs = [(np.arange(20), np.arange(20, 30)), (np.arange(30) >= 10, np.arange(30) < 10)]
    assert asked(folds_of(pairs, TRUTH, "classification")) == [*range(10), *range(20, 30)]
    assert asked(folds_of(iter(pairs), TRUTH, "classification")) == [*range(10), *range(20, 30)]


@pytest.mark.parametrize("cv", [True, "weekly", "time:x", 2.5, None, [], [1, 2], [(1, 2, 3)]])
def test_other_words_are_refused(cv: Any) -> None:
    assert refused(cv).startswith("bad-argument: `cv` must be a number of folds")


def test_what_cannot_be_split_is_refused() -> None:
    assert "at least 2 folds; found 1" in refused(1)
    assert refused(31).startswith("too-few-rows: 31 folds need at least 31 rows; found 30")
    assert "30 folds need at least 31 rows; found 30" in refused("time:30")
    assert refused("group").startswith("bad-argument: to split by group")
    assert refused("group:4", groups=["a", "b", "c"] * 10).startswith("too-few-rows: 4 folds need at least 4 groups")
    assert refused(5, groups=["a"]).startswith("rows-differ: there must be a group for each of 30 rows; found 1")
    assert refused(LeaveOneOutOf(3)).startswith("too-few-rows: LeaveOneOutOf could not split 30 rows: only 3")


class LeaveOneOutOf:
    """A splitter of somebody else's that refuses."""

    def __init__(self, most: int) -> None:
        self.most = most

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        raise ValueError(f"only {self.most}")


def test_rows_on_both_sides_are_refused_and_all_faults_told() -> None:
    found = refused([([0, 1, 2], [2, 3]), ([0, 1], []), ([], [5])])
    assert "fold 0: no row may be both learned from and asked about; 1 are (row 2)" in found
    assert "fold 1: there must be rows; none are asked about" in found
    assert "fold 2: there must be rows; none are trained on" in found
    assert found.startswith("in-sample")


def test_groups_on_both_sides_are_refused() -> None:
    groups = ["g", "h"] * 15
    assert "no group may be both learned from and asked about; 'g' is" in refused([([0, 1], [2])], groups=groups)


@pytest.mark.parametrize("rows", [[30], [-1], [0.5], [[1]], "ab"])
def test_numbers_that_are_no_rows_are_refused(rows: Any) -> None:
    assert refused([([0, 1], rows)]).startswith("rows-differ: folds must be numbers of rows, from 0 to 29")


@pytest.mark.parametrize("lacking", [None, float("nan"), np.float64("nan")])
@pytest.mark.parametrize("cv", [3, "group", [(range(10), range(10, 30))]])
def test_a_row_without_a_group_is_refused(cv: Any, lacking: Any) -> None:
    """NaN is not NaN: no two such rows would be of one group, and rows of one group on both sides of a fold."""
    told = refused(cv, groups=[lacking, lacking, *range(28)])
    assert told.startswith("bad-data: every row must be of a group; row 0 is of")
    assert "(2 such rows)" in told


def test_a_group_of_numpy_is_told_as_it_is_written() -> None:
    assert "7 is" in refused([(range(10), range(10, 30))], groups=np.full(30, 7))
    assert "np.int64" not in refused([(range(10), range(10, 30))], groups=np.full(30, 7))
