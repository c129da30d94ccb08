"""Models put in order entry by entry, and functions of our own that torch has too."""

from __future__ import annotations

import math

import pytest
import torch

from cuvee import tensors
from cuvee.tensors.distances import Addends, krum_order, median_coefficients

FLOATS = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 11, 16, 23])
def test_sorted_as_torch_sorts(count, dtype):
    stack = torch.randn(count, 300, generator=torch.Generator().manual_seed(count)).to(dtype)
    stack[:, :50] = stack[:, :50].round()
    want = stack.sort(0).values
    got = tensors.sorted_models(stack)
    assert got.dtype == dtype
    assert torch.equal(got, want)


def test_the_zeros_and_the_infinities_have_their_places():
    stack = torch.tensor([[0.0], [math.inf], [-0.0], [-math.inf], [-1.0]])
    assert [str(x) for x in tensors.sorted_models(stack)[:, 0].tolist()] == ["-inf", "-1.0", "-0.0", "0.0", "inf"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_magnitude_is_the_first_model_s_where_two_are_equal(dtype):
    stack = torch.tensor([[1.0, -2.0, 0.0, -3.0], [-1.0, 2.0, -0.0, 5.0], [0.5, 4.0, 0.0, -5.0]], dtype=dtype)
    got = tensors.largest_magnitude(stack)
    assert got.tolist() == [1.0, 4.0, 0.0, 5.0]
    assert not torch.signbit(got[2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_users_are_strictly_above(dtype):
    deltas = torch.tensor([[2.0, 1.0, 0.0], [1.0, -1.0, 0.0]], dtype=dtype)
    users = tensors.users_of(deltas, deltas.sum(0), torch.tensor([2.0, 0.25], dtype=dtype))
    assert users.tolist() == [1, 1, 0]


def test_exp_and_tanh_are_right_to_the_last_digits():
    x = torch.linspace(-40.0, 40.0, 20_001, dtype=torch.float64)
    assert ((tensors.exp(x) - x.exp()) / x.exp()).abs().max() < 4e-16
    z = torch.cat([x, torch.logspace(-290, 0, 500, dtype=torch.float64)])
    want = torch.tanh(z)
    assert (tensors.tanh(z) - want).abs().div(want.abs().clamp(min=1e-300)).max() < 1e-15


def test_exp_and_tanh_of_what_is_too_large_are_finite():
    far = torch.tensor([-math.inf, -1e300, -0.0, 1e300, math.inf], dtype=torch.float64)
    assert tensors.tanh(far).tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert 0 < float(tensors.exp(far[:1])) < 1e-300


def test_addends_do_not_depend_on_their_order():
    rows = [Addends(((x, 1.0),)) for x in (1e16, 1.0, -1e16, 1.0)]
    sums = {(a + b + c + d).total() for a, b, c, d in (rows, rows[::-1], [rows[i] for i in (1, 3, 0, 2)])}
    assert sums == {(2.0, 4.0)}


def test_overflown_distances_put_models_last():
    assert krum_order([math.inf, 1.0, math.inf], models=3, wrong=0)[-1] == 1


def test_the_median_of_points_that_overflow_is_their_mean():
    assert median_coefficients([math.inf, 0.0, 1.0], [1.0, 1.0, 2.0], 1e-6, 10) == (0.25, 0.25, 0.5)
