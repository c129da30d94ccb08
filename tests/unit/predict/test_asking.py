"""Members asked together: who takes part in a row, what is done about one that fails, and what is noted."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from cuvee.errors import InputError
from cuvee.predict.answers import ask, ask_all
from cuvee.predict.gathering import gather, truth_of
from cuvee.predict.noting import note, noted
from cuvee.predict.rows import rows_of
from tests.support.members import ABC, doing, drawn, saying

ROWS = rows_of([{"text": "oak", "x": 1.0}, {"text": None, "x": 2.0}, {"text": "wine", "x": float("nan")}])

PLAIN = rows_of(np.zeros((3, 2)))


def uniform(X):
    return np.full((len(X), 3), 1 / 3)


def failing(X):
    raise ValueError("the disk\nis gone")


def test_rows_that_lack_what_a_member_reads_are_masked() -> None:
    seen = []
    member = doing(lambda X: seen.append(X) or uniform(X), reads="text")
    answered = ask(member, ROWS, ABC, "classification")
    assert seen == [["oak", "wine"]], "it is not asked about a row that it cannot read"
    assert answered.mask.tolist() == [True, False, True]
    assert np.isnan(answered.P[1]).all()
    assert not np.isnan(answered.P[[0, 2]]).any()


def test_members_of_several_columns_say_whether_they_need_them_all() -> None:
    def counting(X):
        return uniform(X["text"])

    assert ask(doing(counting, reads=("text", "x")), ROWS, ABC, "classification").mask.all()
    some = ask(doing(counting, reads=("text", "x"), whole=True), ROWS, ABC, "classification").mask
    assert some.tolist() == [True, False, False]


def test_no_rows_ask_nobody() -> None:
    found = ask_all([doing(failing)], rows_of([]), ABC, "classification")
    assert found.P.shape == (1, 0, 3)
    assert ask_all([], PLAIN, ABC, "classification").P.shape == (0, 3, 3)


def test_together_in_the_order_of_the_members() -> None:
    P, Q = drawn(3, 3, 1), drawn(3, 3, 2)
    made = ask_all([saying(P, name="p"), saying(Q, name="q")], PLAIN, ABC, "classification")
    np.testing.assert_array_equal(made.P, [P, Q])
    mask, probable, embeddings, notes = made[1:]
    assert mask.all()
    assert (probable, dict(embeddings), notes) == ((True, True), {}, ())


def test_a_member_that_raises_is_named() -> None:
    with pytest.raises(InputError, match="the member 'm' failed on 3 rows: ValueError: the disk is gone") as caught:
        ask(doing(failing), PLAIN, ABC, "classification")
    assert caught.value.code == "member-failed"


@pytest.mark.parametrize("bad", [failing, lambda X: np.full((len(X), 3), np.nan), lambda X: uniform(X)[1:]])
def test_a_member_that_fails_is_left_out_and_noted(bad) -> None:
    members = [doing(uniform, name="good"), doing(bad, name="bad")]
    with pytest.raises(InputError):
        ask_all(members, PLAIN, ABC, "classification")
    made = ask_all(members, PLAIN, ABC, "classification", on_error="mask")
    assert made.mask.tolist() == [[True] * 3, [False] * 3]
    assert len(made.notes) == 1
    assert "'bad' was left out of 3 rows" in made.notes[0]


def test_where_all_fail_every_reason_is_told() -> None:
    members = [doing(failing, name="one"), doing(failing, name="two")]
    with pytest.raises(InputError) as caught:
        ask_all(members, PLAIN, ABC, "classification", on_error="mask")
    assert caught.value.codes == ("member-failed", "member-failed")
    assert [fault.subject for fault in caught.value.faults] == ["one", "two"]


def test_a_column_that_no_row_has_is_an_error_all_the_same() -> None:
    member = doing(uniform, reads="txt")
    with pytest.raises(InputError, match="have a column 'txt'") as caught:
        ask_all([doing(lambda X: uniform(X["x"]), name="good"), member], ROWS, ABC, "classification", on_error="mask")
    assert caught.value.code == "bad-data"


def test_a_member_that_takes_too_long() -> None:
    ended = threading.Event()

    def slow(X):
        ended.wait(5)
        return uniform(X)

    members = [doing(slow, name="slow"), doing(uniform, name="good")]
    start = time.perf_counter()
    made = ask_all(members, PLAIN, ABC, "classification", on_error="mask", time_limit=0.05)
    assert time.perf_counter() - start < 2
    assert made.mask.tolist() == [[False] * 3, [True] * 3]
    with pytest.raises(InputError, match="'slow' did not answer within") as caught:
        ask(members[0], PLAIN, ABC, "classification", time_limit=0.05)
    assert caught.value.code == "member-failed"
    ended.set()


def test_within_the_time_limit_all_is_as_without() -> None:
    def noting(X):
        note("something")
        return uniform(X)

    made = ask_all([doing(noting)], PLAIN, ABC, "classification", time_limit=30)
    assert made.notes == ("something",)
    np.testing.assert_array_equal(made.P, ask_all([doing(noting)], PLAIN, ABC, "classification").P)
    with pytest.raises(InputError, match="ValueError"):
        ask(doing(failing), PLAIN, ABC, "classification", time_limit=30)


def test_notes_are_made_once_and_only_for_those_who_listen() -> None:
    note("nobody hears")
    with noted() as notes:
        note("a")
        with noted() as inner:
            note("b")
        note("a")
    assert (notes, inner) == (["a"], ["b"])


def test_embeddings_beside_answers() -> None:
    member = doing(uniform, reads="text", embed=lambda X: [[len(x), 1.0] for x in X])
    made = ask_all([member], ROWS, ABC, "classification", embed=["m"])
    np.testing.assert_array_equal(made.embeddings["m"], [[3, 1], [np.nan] * 2, [4, 1]])
    assert made.mask[0].tolist() == [True, False, True]
    with pytest.raises(InputError, match="'m' gives no embeddings") as caught:
        ask_all([doing(uniform)], ROWS, ABC, "classification", embed=["m"])
    assert caught.value.code == "wrong-member"


def test_a_bank_of_all_that_members_say() -> None:
    told = []
    P = drawn(3, 3)
    members = [doing(uniform, reads="text", name="texts"), doing(lambda X: P, name="all")]
    bank = gather(
        members, ROWS, ABC, "classification", truth=["c", "a", "a"], progress=lambda done, of: told.append((done, of))
    )
    assert bank.members == ("texts", "all")
    assert bank.truth is not None
    assert bank.truth.tolist() == [2, 0, 0]
    assert bank.mask.tolist() == [[True, False, True], [True] * 3]
    assert bank.provenance == ("hold-out", "hold-out")
    assert told == [(1, 2), (2, 2)]


def test_a_bank_keeps_who_was_left_out() -> None:
    members = [doing(failing, name="bad"), doing(uniform, name="good")]
    bank = gather(members, PLAIN, ABC, "classification", on_error="mask")
    assert "'bad' was left out" in bank.notes[0]


@pytest.mark.parametrize(
    ("y", "classes", "task", "code", "words"),
    [
        (["a", "x"], ABC, "classification", "bad-data", "a right answer is 'x', which is no class"),
        (["1", "2"], (1, 2), "classification", "bad-data", "the class is 1, of another type"),
        (["a"], ABC, "classification", "rows-differ", "a right answer for each of 2 rows; found the shape [1]"),
        ([1.0, np.nan], (), "regression", "bad-data", "must be finite; row 1"),
    ],
)
def test_truths_that_do_not_fit(y, classes, task, code, words) -> None:
    with pytest.raises(InputError) as caught:
        truth_of(y, classes, task, 2)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_truths_are_numbers_of_classes() -> None:
    assert truth_of(np.array([3, 1]), (1, 2, 3), "classification", 2).tolist() == [2, 0]
    with pytest.raises(InputError) as caught:
        truth_of(["x", "y", "x"], ABC, "classification", 3)
    assert len(caught.value.faults) == 2, "each foreign label once"
