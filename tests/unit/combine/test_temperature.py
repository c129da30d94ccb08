"""Temperature: its range, its ends, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.combine import apply_temperature, fit_temperature
from cuvee.combine.temperature import COLDEST, HOTTEST
from cuvee.errors import InputError


def loss(P: np.ndarray, y: np.ndarray, temperature: float) -> float:
    return float(-np.log(apply_temperature(P, temperature)[np.arange(len(y)), y]).mean())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), k=st.integers(2, 5), sure=st.sampled_from([0.05, 1.0, 20.0]))
def test_no_other_temperature_has_less_loss(seed: int, n: int, k: int, sure: float) -> None:
    rng = np.random.default_rng(seed)
    P, y = rng.dirichlet(np.full(k, sure), n), rng.integers(k, size=n)
    found = fit_temperature(P, y)
    assert COLDEST <= found <= HOTTEST
    best = loss(P, y, found)
    for other in [*np.geomspace(COLDEST, HOTTEST, 40), found * 1.001, found / 1.001]:
        if COLDEST <= other <= HOTTEST:
            assert best <= loss(P, y, float(other)) + 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), temperature=st.floats(COLDEST, HOTTEST))
def test_the_order_of_classes_stays_and_rows_sum_to_one(seed: int, temperature: float) -> None:
    P = np.random.default_rng(seed).dirichlet(np.ones(4), 6)
    made = apply_temperature(P, temperature)
    np.testing.assert_allclose(made.sum(axis=1), 1)
    ordered = np.take_along_axis(made, np.argsort(P, axis=1), axis=1)
    assert (np.diff(ordered, axis=1) >= -1e-12).all()


def test_a_temperature_of_one_changes_nothing_but_zeros() -> None:
    P = np.array([[0.25, 0.75, 0.0]])
    np.testing.assert_allclose(apply_temperature(P, 1.0), P, atol=1e-12)


def test_undoing_a_temperature_finds_it() -> None:
    """Labels in the very proportions of the probabilities: what was made surer by 1/3 is best at T = 3."""
    honest = np.array([[0.8, 0.2]] * 10 + [[0.4, 0.6]] * 10)
    truth = np.array([0] * 8 + [1] * 2 + [0] * 4 + [1] * 6)
    assert fit_temperature(honest, truth) == pytest.approx(1.0, rel=1e-9)
    assert fit_temperature(apply_temperature(honest, 1 / 3), truth) == pytest.approx(3.0, rel=1e-9)
    assert fit_temperature(apply_temperature(honest, 5.0), truth) == pytest.approx(0.2, rel=1e-9)


def test_the_ends_of_the_range() -> None:
    P = np.array([[0.6, 0.4], [0.4, 0.6]])
    assert fit_temperature(P, np.array([0, 1])) == COLDEST
    assert fit_temperature(P, np.array([1, 0])) == HOTTEST
    assert fit_temperature(np.full((3, 2), 0.5), np.array([0, 1, 1])) == 1.0


def test_zeros_of_the_right_class_keep_the_loss_finite() -> None:
    P = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
    found = fit_temperature(P, np.zeros(10, np.int64))
    assert apply_temperature(P, found)[0, 0] == pytest.approx(0.9, rel=1e-6)


def test_a_temperature_of_each_member_goes_with_the_members() -> None:
    P = np.full((2, 1, 2), [0.9, 0.1])
    made = apply_temperature(P, np.array([1.0, 2.0])[:, None, None])
    np.testing.assert_allclose(made[:, 0, 0], [0.9, 0.75])


@pytest.mark.parametrize(
    ("P", "y", "code", "words"),
    [
        (np.zeros((0, 2)), np.zeros(0, np.int64), "too-few-rows", "at least one row"),
        (np.full((2, 2), 0.5), np.zeros(3, np.int64), "rows-differ", "each of 2 rows; found 3"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), np.zeros(2, np.int64), "bad-data", "row 1 is [nan, 1.0]"),
        (np.array([[1.5, -0.5]]), np.zeros(1, np.int64), "bad-data", "row 0 is [1.5, -0.5]"),
        (np.array([[0.5, 0.5], [0.5, 0.4]]), np.zeros(2, np.int64), "bad-data", "sum to one; row 1 is [0.5, 0.4]"),
        (np.full((2, 1, 2), 0.5), np.zeros(2, np.int64), "bad-data", "found [2, 1, 2]"),
        (np.full((2, 2), 0.5), np.zeros(2), "bad-data", "float64 [2]"),
        (np.full((2, 2), 0.5), np.array([0, 2]), "bad-data", "from 0 to 1; found 0 to 2"),
        (np.full((2, 2), 0.5), np.array([-1, 0]), "bad-data", "found -1 to 0"),
    ],
)
def test_what_no_temperature_can_be_fitted_to(P: np.ndarray, y: np.ndarray, code: str, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("[", r"\[").replace(".", r"\.")) as caught:
        fit_temperature(P, y)
    assert caught.value.code == code
