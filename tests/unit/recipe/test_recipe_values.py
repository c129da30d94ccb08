"""Gradients, filters and levels against formulas written out naively."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvee.recipe import Branch, Conditions, interpolate, layer_position, matching, resolve
from cuvee.types import vanishes

NUMBERS = st.floats(-1e3, 1e3, allow_nan=False)
PLACES = st.tuples(st.integers(0, 60), st.integers(1, 61)).filter(lambda pair: pair[0] < pair[1])


def naive(gradient, index, layers):
    """Linear between the two entries around the layer's place, in exact arithmetic."""
    t = Fraction(index, layers - 1) if layers > 1 else Fraction(1)
    s = t * (len(gradient) - 1)
    below = int(s)
    if below == len(gradient) - 1:
        return Fraction(gradient[below])
    share = s - below
    return (1 - share) * Fraction(gradient[below]) + share * Fraction(gradient[below + 1])


@given(st.lists(NUMBERS, min_size=1, max_size=9).map(tuple), PLACES)
def test_interpolation_is_linear_between_neighbours(gradient, place):
    index, layers = place
    size = max(map(abs, gradient))
    found = interpolate(gradient, layer_position(index, layers))
    assert abs(Fraction(found) - naive(gradient, index, layers)) <= 1e-12 * max(size, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=9).map(tuple), PLACES)
def test_switches_step_to_the_entry_below(gradient, place):
    index, layers = place
    below = index * (len(gradient) - 1) // (layers - 1) if layers > 1 else len(gradient) - 1
    assert interpolate(gradient, layer_position(index, layers), "bool") is gradient[below]


def test_one_entry_per_layer_is_that_entry_for_any_number_of_layers():
    """Rounding of i / (n - 1) · (n - 1) must not make a switch step one layer late."""
    for layers in range(1, 200):
        gradient = tuple(range(layers))
        stepped = [interpolate(gradient, layer_position(i, layers), "int") for i in range(layers)]
        assert stepped == list(gradient), layers


@pytest.mark.parametrize(
    ("gradient", "t", "kind", "value"),
    [
        ((0, 1), 0.0, "float", 0.0),
        ((0, 1), 1.0, "float", 1.0),
        ((0, 1), 0.25, "float", 0.25),
        ((0, 0.5, 1), 1 / 3, "float", 1 / 3),
        ((5,), 0.7, "float", 5.0),
        ((1, 2, 4), 0.75, "float", 3.0),
        ((1, 2, 4), 0.75, "int", 2),
        (("a", "b"), 0.99, "float", "a"),
        (("a", "b"), 1.0, "str", "b"),
        ((True, False), 0.99, "float", True),
        ((1.0, 0.0), 0.99, "bool", 1.0),
    ],
)
def test_interpolated_by_hand(gradient, t, kind, value):
    assert interpolate(gradient, t, kind) == pytest.approx(value)


def test_positions_of_layers():
    assert [layer_position(i, 5) for i in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert layer_position(0, 1) == 1.0


CONDITIONS = Conditions((Branch("attn", 0.9), Branch("layers.1", (0, 1)), Branch(None, 0.5)))
GAP = Conditions((Branch("attn", 0.9),))


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        (3, "x", 3),
        ((1, 2), "x", (1, 2)),
        (CONDITIONS, "layers.1.attn.q", 0.9),
        (CONDITIONS, "layers.1.mlp", (0, 1)),
        (CONDITIONS, "layers.10.mlp", (0, 1)),
        (CONDITIONS, "layers.2.Attn", 0.5),
        (GAP, "layers.2.Attn", None),
        (Conditions((Branch("*", 1), Branch("a", 2))), "a", 1),
        (Conditions((Branch("", 1), Branch("a", 2))), "a", 1),
    ],
)
def test_first_matching_filter_wins(setting, name, value):
    assert matching(setting, name) == value


@pytest.mark.parametrize(
    ("levels", "name", "value"),
    [
        ([{"w": 1}, {"w": 2}], "x", 1.0),
        ([{}, {"w": 2}], "x", 2.0),
        ([{"v": 1}], "x", None),
        ([], "x", None),
        ([{"w": GAP}, {"w": (0, 8)}], "mlp", 2.0),
        ([{"w": GAP}, {"w": (0, 8)}], "attn", 0.9),
        ([{"w": GAP}, {"w": GAP}], "mlp", None),
        ([{"w": CONDITIONS}], "layers.1.mlp", 0.25),
        ([{"w": 0}, {"w": 2}], "x", 0.0),
    ],
)
def test_first_level_with_a_value_wins(levels, name, value):
    assert resolve("w", levels, name, 0.25) == value


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [(1, "float", 1.0), (1, "bool", True), (0.0, "bool", False), (7, "int", 7), ("a", "str", "a")],
)
def test_values_come_as_their_kind(value, kind, found):
    result = resolve("w", [{"w": value}], "x", 0.0, kind)
    assert result == found
    assert type(result) is type(found)


# --- weights that cancel


@pytest.mark.parametrize(
    ("weights", "gone"),
    [
        ([], True),
        ([0.0], True),
        ([0.1, 0.2, -0.3], True),
        ([1.0, -1.00000001], True),  # one number in float32
        ([1e8, 1.0, -1e8], True),
        ([1.0, -0.9], False),
        ([1e-30, 1e-30], False),
        ([1.0] * 1000, False),
    ],
)
def test_weights_whose_sum_float32_cannot_divide_by(weights: list[float], gone: bool) -> None:
    assert vanishes(weights) is gone
