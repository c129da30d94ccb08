"""Answers of members checked at every call: what is refused, in which words, and what is made of what is right."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import InputError
from cuvee.predict.answers import ask, ask_all
from cuvee.predict.rows import rows_of
from tests.support.members import ABC, doing, drawn, saying

RIGHT = [0.2, 0.3, 0.5]
ROWS = rows_of(np.zeros((4, 1)), ["r0", "r1", "r2", "r3"])


def refused(answers, words, classes=ABC, **more):
    """The error that these answers of a member called `m` are refused with."""
    member = saying(answers, classes, **more)
    task = "regression" if member.output == "values" else "classification"
    with pytest.raises(InputError) as caught:
        ask(member, ROWS, classes, task)
    assert caught.value.code == "bad-output"
    assert "the member 'm'" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def with_row(row):
    return [RIGHT, RIGHT, row, RIGHT]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (with_row([0.2, 0.3, 0.4]), ["row r2", "sum to one", "[0.2, 0.3, 0.4]", "sums to 0.9", 'output="logits"']),
        (with_row([0.2, 0.3, 0.502]), ["row r2", "sums to 1.002"]),
        (with_row([-0.2, 0.7, 0.5]), ["row r2", "one is negative", "-0.2 for 'a'"]),
        (with_row([np.nan, 0.5, 0.5]), ["row r2", "must be finite", "nan"]),
        (with_row([np.inf, 0.5, 0.5]), ["row r2", "must be finite", "inf"]),
        (with_row([-2.0, 3.5, 0.1]), ["row r2", "look like logits or scores", "-2 for 'a'", 'output="logits"']),
        ([[0.2, 0.3, 0.4]] * 4, ["row r0", "(4 such rows)"]),
        ([RIGHT] * 3, ["asked about 4 rows", "found 3"]),
        ([[0.5, 0.5]] * 4, ["a column for each of its 3 classes", "[4, 2]", "'a', 'b', 'c'"]),
        ([0.5] * 4, ["[rows, 3]", "shape [4]", "one number a row"]),
        (np.zeros((4, 3, 2)), ["a column for each of its 3 classes", "[4, 3, 2]"]),
        ([["x", "y", "z"]] * 4, ["must be numbers"]),
        (0.5, ["found a single one"]),
    ],
    ids=range(13),
)
def test_what_are_no_probabilities(answers, words) -> None:
    answer = doing(lambda X: np.asarray(answers) if not isinstance(answers, float) else answers)
    with pytest.raises(InputError) as caught:
        ask(answer, ROWS, ABC, "classification")
    assert caught.value.code == "bad-output"
    for word in ["the member 'm'", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("answers", [[0.2, 0.9, 0.4, 0.4], [[0.2], [0.9], [0.4], [0.4]]])
def test_one_number_for_two_classes_is_not_taken_for_probabilities(answers) -> None:
    refused(answers, ["[rows, 2]", "one number a row", "(1 − p, p)"], ("no", "yes"))


def test_rows_that_nearly_sum_to_one_are_divided_by_their_sum() -> None:
    found = ask(saying([[0.2, 0.3, 0.5005]] * 4), ROWS, ABC, "classification").P
    np.testing.assert_allclose(found[0], np.array([0.2, 0.3, 0.5005]) / 1.0005, atol=1e-15)


def test_right_probabilities_are_kept_to_the_last_bit() -> None:
    P = drawn(4, 3)
    np.testing.assert_array_equal(ask(saying(P), ROWS, ABC, "classification").P, P)


def test_float32_is_made_to_sum_to_one() -> None:
    P = drawn(4, 3).astype(np.float32)
    found = ask(saying(P), ROWS, ABC, "classification").P
    assert found.dtype == np.float64
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-9


def test_what_rounding_brings_below_zero_is_zero() -> None:
    found = ask(saying([[-1e-9, 0.4, 0.6]] * 4), ROWS, ABC, "classification").P
    assert found[0, 0] == 0.0


def test_logits_become_probabilities() -> None:
    z = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0], [-5.0, -5.0, -5.0], [0.0, 0.5, 0.25]])
    found = ask(saying(z, output="logits"), ROWS, ABC, "classification").P
    np.testing.assert_allclose(found[0], np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), atol=1e-15)
    np.testing.assert_allclose(found[1:3], [[1, 0, 0], [1 / 3] * 3], atol=1e-15)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_logit_for_two_classes_is_softmax_of_nought_and_it(shape) -> None:
    z = np.array([0.0, 1.0, -2.0, 5.0])
    found = ask(saying(z.reshape(shape), ("no", "yes"), output="logits"), ROWS, ("no", "yes"), "classification").P
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-z)), atol=1e-15)


def test_scores_stay_and_are_no_probabilities() -> None:
    answered = ask(saying([[5.0, -1.0, 900.0]] * 4, output="scores"), ROWS, ABC, "classification")
    assert answered.P[0].tolist() == [5.0, -1.0, 900.0]
    assert not answered.probable


def test_one_score_for_two_classes_speaks_for_the_second() -> None:
    found = ask(saying([1.0, -2.0, 0.0, 3.0], ("no", "yes"), output="scores"), ROWS, ("no", "yes"), "classification").P
    assert found.argmax(axis=1).tolist() == [1, 0, 0, 1]


def test_pairwise_scores_are_refused() -> None:
    refused(np.zeros((4, 6)), ["a column for each of its 4 classes", "[4, 6]"], ("a", "b", "c", "d"), output="scores")


@pytest.mark.parametrize("labels", [["b", "a", "c", "a"], np.array([["b"], ["a"], ["c"], ["a"]], dtype=object)])
def test_labels_are_certain(labels) -> None:
    found = ask(saying(labels, output="labels"), ROWS, ABC, "classification").P
    assert found.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("form", [list, tuple])
def test_texts_and_numbers_in_one_list_of_labels_stay_what_they_are(form) -> None:
    member = doing(lambda X: form(["a", 1, -2, 1]), ["a", 1, -2], output="labels")
    assert ask(member, ROWS, ["a", 1, -2], "classification").P.argmax(axis=1).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        (["a", "b", "d", "a"], ABC, ["row r2", "found the label 'd'", "'a', 'b', 'c'"]),
        ([1, 2, 3, 1], ("1", "2", "3"), ["row r0", "its class is '1', of another type"]),
        ([["a", "b"]] * 4, ABC, ["several labels to a row"]),
        (["a"] * 3, ABC, ["asked about 4 rows"]),
    ],
)
def test_labels_that_are_none(labels, classes, words) -> None:
    refused(labels, words, classes, output="labels")


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_values(shape) -> None:
    found = ask(saying(np.arange(4.0).reshape(shape), ()), ROWS, (), "regression").P
    assert found.tolist() == [[0.0], [1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.zeros((4, 2)), ["several values to a row"]), ([0, 1, np.nan, 2], ["row r2", "must be finite"])],
)
def test_values_that_are_none(values, words) -> None:
    refused(values, words, ())


def test_values_on_another_scale_are_brought_back_and_checked() -> None:
    rows = rows_of([0, 0])
    assert ask(saying([0.0, 1.0], (), inverse=np.exp), rows, (), "regression").P.tolist() == [[1.0], [np.e]]
    with pytest.raises(InputError, match="must be finite"), np.errstate(over="ignore"):
        ask(saying([0.0, 1e4], (), inverse=np.exp), rows, (), "regression")


def test_embeddings_are_given_and_nothing_else() -> None:
    answered = ask(saying([[1.0, 2.0]] * 4, (), output="embeddings"), ROWS, ABC, "classification")
    assert answered.embeddings is not None
    assert answered.embeddings.shape == (4, 2)
    assert np.isnan(answered.P).all()
    assert not answered.mask.any()
    refused([1.0] * 4, ["embeddings are [rows, D]"], (), output="embeddings")


@pytest.mark.parametrize(
    "made", [torch.tensor, scipy.sparse.csr_matrix, lambda P: P.tolist(), lambda P: np.asarray(P, dtype=object)]
)
def test_numbers_in_any_form(made) -> None:
    P = drawn(4, 3)
    answer = made(P)
    found = ask(doing(lambda X: answer), ROWS, ABC, "classification").P
    np.testing.assert_allclose(found, P, atol=1e-7)


def test_a_tensor_with_a_gradient() -> None:
    z = torch.zeros((4, 3), requires_grad=True)
    assert ask(doing(lambda X: z, output="logits"), ROWS, ABC, "classification").P[0, 0] == pytest.approx(1 / 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["nan", "sum", "negative", "none"]))
def test_a_bad_row_is_found_wherever_it_is(seed, what) -> None:
    rng = np.random.default_rng(seed)
    P, row = drawn(30, 3, seed), int(rng.integers(30))
    rows = rows_of(np.zeros((30, 1)))
    if what == "nan":
        P[row, rng.integers(3)] = np.nan
    elif what == "sum":
        P[row] *= 0.5
    elif what == "negative":
        P[row] = [-0.5, 1.0, 0.5]
    if what == "none":
        assert ask(saying(P), rows, ABC, "classification").mask.all()
        return
    with pytest.raises(InputError, match=f"row {row}:"):
        ask(saying(P), rows, ABC, "classification")


def test_checking_takes_little_time() -> None:
    """8 members, 10 000 rows, 10 classes: a few ms in all; a generous bound for a busy machine."""
    classes = tuple(range(10))
    members = [saying(drawn(10_000, 10, seed), classes, f"m{seed}") for seed in range(8)]
    rows = rows_of(np.zeros((10_000, 1)))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        ask_all(members, rows, classes, "classification")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.03
