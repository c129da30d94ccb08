"""Requests as JSON: what rows become, and every fault of a body."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cuvee.errors import Fault, InputError, UsageError
from cuvee.serving import Limits
from cuvee.serving.wire import body_of, is_token, rows_from, said_of, status_of, unlike

FEW = Limits(max_rows=3)


def test_what_rows_become() -> None:
    matrix = rows_from([[1, 2.5], [3, 4]], FEW)
    assert (matrix.form, matrix.data.tolist(), matrix.data.dtype) == ("array", [[1, 2.5], [3, 4]], np.float64)
    texts = rows_from(["a", "b"], FEW)
    assert (texts.form, texts.data) == ("items", ["a", "b"])
    columns = rows_from([{"n": 1, "t": "x"}, {"n": 2.5, "t": None}, {"t": "y", "flag": True}], FEW)
    assert columns.form == "columns"
    assert columns.data == {"n": [1, 2.5, None], "t": ["x", None, "y"], "flag": [None, None, True]}
    assert rows_from([{"n": 1}, {"n": 2}], FEW).data["n"].dtype == np.float64


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ({"a": 1}, "bad-data", "`rows` should be a list; found a dict"),
        ([], "bad-data", "should hold a row"),
        ([[1]] * 4, "too-large", "at most 3 rows; found 4"),
        ([[1], "a"], "bad-data", "found list, str"),
        ([1, 2], "bad-data", "found int"),
        ([None], "bad-data", "found NoneType"),
        ([[1, 2], [1]], "bad-data", r"their lengths are \[1, 2\]"),
        ([["a"]], "bad-data", "should hold numbers"),
        ([[10**400]], "bad-data", "should hold numbers"),
    ],
)
def test_rows_that_are_none(rows: Any, code: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        rows_from(rows, FEW)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "should be JSON"),
        (b"\xff", "should be JSON"),
        (b"[" * 200_000, "brackets"),
        (b"[1]", "should be an object"),
        (b'{"rows": 1, "rows": 2}', "stands twice"),
        (b'{"rows": 1, "rwos": 2}', "'rwos' is unknown; known: rows"),
        (b"{}", "'rows' is missing"),
    ],
)
def test_bodies_that_are_none(raw: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        body_of(raw, ["rows"], ["rows"])


def test_all_faults_of_a_body_at_once() -> None:
    with pytest.raises(InputError) as caught:
        body_of(b'{"a": 1, "b": 2, "b": 3}', ["rows"], ["rows"])
    assert len(caught.value.faults) == 4


def test_faults_as_json() -> None:
    error = UsageError([Fault("busy", "later", hint="wait"), Fault("bad-data", "no", subject="x")])
    assert status_of(error) == 429
    assert json.loads(json.dumps(said_of(error)))["faults"] == [
        {"code": "busy", "message": "later", "hint": "wait", "subject": None},
        {"code": "bad-data", "message": "no", "hint": None, "subject": "x"},
    ]


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("Bearer t0ken", True),
        ("bearer t0ken ", True),
        ("Bearer t0kem", False),
        ("Basic t0ken", False),
        ("t0ken", False),
        (None, False),
        ("", False),
        ("Bearer ", False),
        ("Bearer é\udcff", False),
    ],
)
def test_tokens(header: str | None, good: bool) -> None:
    assert is_token(header, "t0ken") is good


def test_limits_that_are_none() -> None:
    with pytest.raises(UsageError) as caught:
        Limits(max_rows=0, at_once=-1, read_seconds=0)
    assert [fault.subject for fault in caught.value.faults] == ["max_rows", "at_once", "read_seconds"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json(word: str) -> None:
    with pytest.raises(InputError, match=f"{word} is no number of JSON; a number that is lacking is null"):
        body_of(b'{"rows": [[1, %s]]}' % word.encode(), ["rows"], ["rows"])


def test_a_number_that_is_lacking_is_null_and_no_text_becomes_a_number() -> None:
    np.testing.assert_array_equal(rows_from([[1, None], [True, 2.5]], FEW).data, [[1, np.nan], [1, 2.5]])
    for row in (["1"], [1, "2"], [None, "2"], [{"a": 1}], [[1], 2]):
        with pytest.raises(InputError, match="should hold numbers"):
            rows_from([row], FEW)


@pytest.mark.parametrize("raw", [b'{"rows": [[1e999]]}', b'{"rows": [{"a": -1e999}]}'])
def test_numbers_too_large_for_floats(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"below 1\.8e308"):
        rows_from(body_of(raw, ["rows"], ["rows"])["rows"], FEW)


def test_how_rows_are_unlike() -> None:
    known = rows_from([{"a": 1, "b": "x"}], FEW)
    assert unlike(known, None) is None
    assert unlike(rows_from([{"b": "y", "a": 2, "c": 3}], FEW), known) is None
    fault = unlike(rows_from([{"a": 1}], FEW), known)
    assert fault is not None
    assert fault.message == "rows should have the keys a, b; there is no b"
