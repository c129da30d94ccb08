"""A cascade over answers: by hand, and what holds for every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import InputError
from cuvee.judging.answers import Answers
from cuvee.judging.cascading import NEVER, cascaded, confidence, fit_threshold, passed_on, share_passed
from cuvee.judging.metrics import score_of


def saying(right: list[float], truth: list[int] | None = None) -> Answers:
    """Answers of two classes that give the right one of each row, class 0 unless said, some probability."""
    wanted = truth or [0] * len(right)
    rows = [[p, 1 - p] if number == 0 else [1 - p, p] for p, number in zip(right, wanted)]
    columns = {"truth": np.array(wanted), "probabilities": np.array(rows)}
    return Answers("classification", columns, tuple(map(str, range(len(right)))))


def accuracy(answers: dict[str, Answers]) -> float:
    return sum(score_of(one, "accuracy").value for one in answers.values()) / len(answers)


def test_the_smallest_threshold_that_loses_nothing() -> None:
    # the cheap model is wrong where it gives the right class less than a half, with confidences 0.6 and 0.7;
    # the dear one is right there, and wrong on the row of which the cheap one is surest
    first, second = saying([0.4, 0.3, 0.8, 0.9]), saying([0.9, 0.9, 0.9, 0.1])
    assert confidence(first).tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9])
    found = fit_threshold({"t": first}, {"t": second}, accuracy)
    # 2 of 4 alone; below 0.65: 3 of 4, as many as the dear one has
    assert (found.value, found.share, found.gain) == (pytest.approx(0.65), 0.25, 0.75)
    assert score_of(cascaded(first, second, 0.75), "accuracy").value == 1.0


def test_what_may_be_lost_is_lost() -> None:
    first, second = saying([0.4, 0.3, 0.8, 0.9]), saying([0.9, 0.9, 0.9, 0.9])
    assert fit_threshold({"t": first}, {"t": second}, accuracy).value == pytest.approx(0.75)
    assert fit_threshold({"t": first}, {"t": second}, accuracy, loss=0.25).value == pytest.approx(0.65)
    assert fit_threshold({"t": first}, {"t": second}, accuracy, loss=0.5).value == NEVER


def test_where_no_threshold_does_all_rows_are_passed_on() -> None:
    first, second = saying([0.1, 0.1]), saying([0.9, 0.9])
    found = fit_threshold({"t": first}, {"t": second}, accuracy)
    assert (found.value, found.share, found.gain) == (math.inf, 1.0, 1.0)


def test_one_threshold_for_all_tasks() -> None:
    first = {"a": saying([0.4, 0.9]), "b": saying([0.9, 0.9])}
    second = {"a": saying([0.9, 0.9]), "b": saying([0.9, 0.9])}
    found = fit_threshold(first, second, accuracy)
    assert found.share == 0.25
    assert share_passed(first, found.value) == 0.25


chances = st.lists(st.floats(0.01, 0.99), min_size=2, max_size=12)


@settings(max_examples=25)
@given(chances, chances, st.floats(0, 1.1), st.floats(0, 1.1))
def test_more_rows_are_passed_on_as_the_threshold_grows(
    one: list[float], two: list[float], low: float, high: float
) -> None:
    n = min(len(one), len(two))
    first, second = saying(one[:n]), saying(two[:n])
    low, high = min(low, high), max(low, high)
    assert not (passed_on(first, low) & ~passed_on(first, high)).any()
    mixed = cascaded(first, second, high).columns["probabilities"]
    own = first.columns["probabilities"]
    assert ((mixed == own) | (mixed == second.columns["probabilities"])).all()
    assert (cascaded(first, second, NEVER).columns["probabilities"] == own).all()


@settings(max_examples=25)
@given(chances, st.integers(0, 10_000))
def test_a_fit_never_loses_more_than_it_may(one: list[float], seed: int) -> None:
    first, second = saying(one), saying(np.random.default_rng(seed).uniform(0.01, 0.99, len(one)).tolist())
    found = fit_threshold({"t": first}, {"t": second}, accuracy)
    assert found.gain >= accuracy({"t": second})


def test_answers_without_probabilities_are_refused() -> None:
    with pytest.raises(
        InputError, match="needs the probabilities of the model that is asked first; answers of kind `match`"
    ) as caught:
        confidence(Answers("match", {"correct": np.ones(2)}, ("a", "b")))
    assert caught.value.codes == ("undefined-metric",)
