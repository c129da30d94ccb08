"""Rows in every form that users have, and which of them a member can read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from cuvee.errors import InputError, UsageError
from cuvee.predict.rows import Rows, rows_of

FRAME = pd.DataFrame({"x": [1.0, np.nan, 3.0], "text": ["oak", None, "wine"]}, index=["p", "q", "r"])


@pytest.mark.parametrize(
    "X",
    [
        np.arange(6.0).reshape(3, 2),
        torch.arange(6.0).reshape(3, 2),
        scipy.sparse.csr_matrix(np.arange(6.0).reshape(3, 2)),
        scipy.sparse.coo_matrix(np.arange(6.0).reshape(3, 2)),
    ],
    ids=["numpy", "torch", "csr", "coo"],
)
def test_matrices_are_taken_by_rows(X) -> None:
    rows = rows_of(X)
    assert (len(rows), rows.ids, rows.columns) == (3, ("0", "1", "2"), ())
    taken = rows.take([2, 0])
    dense = taken.data.toarray() if hasattr(taken.data, "toarray") else np.asarray(taken.data)
    assert dense.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert taken.ids == ("2", "0")


def test_columns_stay_columns() -> None:
    rows = rows_of({"x": [1, 2], "text": ["a", "b"]})
    assert rows.columns == ("x", "text")
    assert rows.read("text") == ["a", "b"]
    assert rows.read(("text",)) == {"text": ["a", "b"]}
    assert rows.take([1]).data == {"x": [2], "text": ["b"]}


def test_mappings_become_columns_and_what_one_lacks_is_lacking() -> None:
    rows = rows_of([{"text": "a"}, {"x": 1}])
    assert rows.data == {"text": ["a", None], "x": [None, 1]}
    assert rows.present("text").tolist() == [True, False]


def test_a_data_frame_is_named_by_its_index() -> None:
    rows = rows_of(FRAME)
    assert rows.ids == ("p", "q", "r")
    assert rows.read("text").tolist()[::2] == ["oak", "wine"]
    assert list(rows.read(("x",)).columns) == ["x"]
    assert rows.take([2]).ids == ("r",)


def test_an_index_that_names_two_rows_alike_names_none() -> None:
    assert rows_of(pd.concat([FRAME, FRAME])).ids == tuple("012345")
    assert rows_of(FRAME.reset_index().iloc[1:]).ids == ("1", "2"), "a part keeps the numbers of the whole"


def test_columns_of_a_data_frame_that_are_called_by_numbers() -> None:
    rows = rows_of(pd.DataFrame(np.arange(4).reshape(2, 2)))
    assert rows.columns == ("0", "1")
    assert rows.read("1").tolist() == [1, 3]


def test_series_are_looked_up_by_place_and_not_by_name() -> None:
    series = pd.Series(["a", "b", "c"], index=[2, 1, 0])
    assert rows_of(series).take([0]).data.tolist() == ["a"]
    assert rows_of({"s": series}).take([0]).data["s"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("reads", "whole", "there"),
    [
        ("text", False, [True, False, True]),
        ("x", False, [True, False, True]),
        (("x", "text"), False, [True, True, True]),
        (("x", "text"), True, [True, False, True]),
        (None, False, [True, True, True]),
    ],
)
def test_what_is_there(reads, whole, there) -> None:
    assert rows_of(FRAME).present(reads, whole=whole).tolist() == there
    assert rows_of({name: list(FRAME[name]) for name in FRAME}).present(reads, whole=whole).tolist() == there


def test_objects_that_are_lacking() -> None:
    rows = rows_of(["a", None, float("nan"), np.float32("nan"), pd.NA, "b"])
    assert rows.present(None, whole=True).tolist() == [True, False, False, False, False, True]
    assert rows.present(None).all(), "whether a row may lack something is for the member to say"


def test_numbers_of_rows_are_made_once() -> None:
    assert rows_of(np.zeros((5, 1))).ids is rows_of(np.ones((5, 2))).ids


@pytest.mark.parametrize(
    ("X", "ids", "error", "code", "words"),
    [
        ({"x": [1], "y": [1, 2]}, None, InputError, "bad-data", "columns must have the same number of rows"),
        ([1, 2], ["a"], InputError, "rows-differ", "an id for each of 2 rows; found 1"),
        ([1, 2], ["a", "a"], InputError, "rows-differ", "'a' stands twice"),
        ("oak", None, UsageError, "bad-argument", "found str"),
        (np.array(3.0), None, UsageError, "bad-argument", "found ndarray"),
    ],
)
def test_what_are_no_rows(X, ids, error, code, words) -> None:
    with pytest.raises(error, match=words) as caught:
        rows_of(X, ids)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("X", "words"),
    [({"text": ["a"]}, "have a column 'txt'; they have 'text'"), (np.zeros((1, 2)), "they have no named columns")],
)
def test_a_column_that_is_not_there(X, words) -> None:
    with pytest.raises(InputError, match=words) as caught:
        rows_of(X).read("txt")
    assert caught.value.code == "bad-data"


def test_rows_can_be_given_again_with_other_ids() -> None:
    rows = rows_of(["a", "b"])
    assert rows_of(rows) is rows
    assert isinstance(rows_of(rows, "xy"), Rows)
    assert rows_of(rows, "xy").ids == ("x", "y")
