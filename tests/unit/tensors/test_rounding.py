"""One rounding, to the nearest, ties to even; the reference rounds exact fractions by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cuvee.tensors import round_to
from cuvee.tensors.rounding import round_to_odd

KINDS = {torch.bfloat16: (8, -126), torch.float16: (11, -14)}
"""Significant bits and the exponent of the smallest normal number."""


def nearest(value: float, dtype: torch.dtype) -> float:
    """The number of the dtype nearest to a float64, by exact arithmetic."""
    bits, least = KINDS[dtype]
    if value == 0 or not math.isfinite(value):
        return value
    unit = Fraction(2) ** (max(math.frexp(value)[1] - 1, least) - bits + 1)
    rounded = round(Fraction(value) / unit) * unit  # Python's round takes ties to even
    return float(rounded) if abs(rounded) <= torch.finfo(dtype).max else math.copysign(math.inf, value)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@given(value=st.floats(allow_nan=False, allow_infinity=True))
def test_any_number(dtype: torch.dtype, value: float) -> None:
    assert round_to(torch.tensor([value], dtype=torch.float64), dtype).item() == nearest(value, dtype)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@given(step=st.integers(-5000, 5000), power=st.integers(-30, 10), sliver=st.sampled_from([0, 1, -1]))
def test_next_to_a_middle(dtype: torch.dtype, step: int, power: int, sliver: int) -> None:
    """Where rounding twice goes wrong: a hair beside the middle between two numbers."""
    bits, _ = KINDS[dtype]
    value = math.ldexp(step + 0.5, power - bits) * (1 + sliver * 2.0**-40)
    assert round_to(torch.tensor([value], dtype=torch.float64), dtype).item() == nearest(value, dtype)


def test_rounding_twice_would_show() -> None:
    value = torch.tensor([1 + 2.0**-8 + 2.0**-40], dtype=torch.float64)
    assert value.to(torch.bfloat16).item() != nearest(value.item(), torch.bfloat16)


def test_what_is_exact_stays_and_what_is_not_ends_in_a_one() -> None:
    values = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert round_to_odd(values.float().double()).equal(values.float())
    assert bool((round_to_odd(values).view(torch.int32) & 1).all())


def test_what_is_no_number_stays_so() -> None:
    values = torch.tensor([math.nan, math.inf, -math.inf], dtype=torch.float64)
    assert str(round_to(values, torch.float16).tolist()) == "[nan, inf, -inf]"


def test_other_dtypes_are_cast() -> None:
    values = torch.tensor([1 + 2.0**-30], dtype=torch.float64)
    assert round_to(values, torch.float32).dtype == torch.float32
    assert round_to(torch.ones(1), torch.bfloat16).equal(torch.ones(1, dtype=torch.bfloat16))
