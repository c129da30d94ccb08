"""Sign election, weighted sums and angles, against plain numbers and against what geometry says."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cuvee import tensors
from cuvee.tensors import agreeing_weight, agreement, gram, gram_blocks, per_model, slerp_coefficients, weighted_sum
from cuvee.tensors.blocks import block_sums

WHOLE = st.integers(-9, 9)
GRIDS = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(WHOLE, min_size=n, max_size=n), min_size=1, max_size=4).map(
        lambda grid: torch.tensor(grid, dtype=torch.float32)
    )
)


# --- sign election


@settings(deadline=None)
@given(GRIDS)
def test_entries_agree_that_have_the_sign_of_the_sum(weighted: Tensor) -> None:
    found = agreement(weighted)
    assert found.dtype == weighted.dtype
    for column, marks in zip(weighted.T.tolist(), found.T.tolist()):
        wins = (lambda x: x > 0) if sum(column) >= 0 else (lambda x: x < 0)
        assert marks == [float(wins(x)) for x in column]


def test_a_tied_vote_goes_to_plus_and_zeros_never_agree() -> None:
    assert agreement(torch.tensor([[2.0, 0.0, -0.0], [-2.0, 0.0, -3.0]])).T.tolist() == [[1, 0], [0, 0], [0, 1]]


@settings(deadline=None)
@given(GRIDS)
def test_turning_all_signs_turns_no_mark_unless_the_vote_is_tied(weighted: Tensor) -> None:
    tied = weighted.sum(0) == 0
    assert torch.equal(agreement(weighted)[:, ~tied], agreement(-weighted)[:, ~tied])


@settings(deadline=None)
@given(GRIDS, st.data())
def test_the_weights_of_those_that_agree_are_added(weighted: Tensor, data: st.DataObject) -> None:
    weights = data.draw(st.lists(WHOLE, min_size=len(weighted), max_size=len(weighted)))
    agrees = agreement(weighted)
    found = agreeing_weight(torch.tensor(weights, dtype=torch.float32), agrees).tolist()
    sums = [sum(w for w, a in zip(weights, column) if a) for column in agrees.T.tolist()]
    assert found == [float(s) if s else 1.0 for s in sums]


# --- weighted sums


@settings(deadline=None)
@given(GRIDS, st.data())
def test_a_weighted_sum_is_what_it_says(stack: Tensor, data: st.DataObject) -> None:
    weights = data.draw(st.lists(WHOLE, min_size=len(stack), max_size=len(stack)))
    expected = [sum(w * x for w, x in zip(weights, column)) for column in stack.T.tolist()]
    assert weighted_sum(stack, torch.tensor(weights, dtype=torch.float32)).tolist() == expected


def test_every_entry_may_have_its_own_weight() -> None:
    stack, weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 10.0]])
    assert weighted_sum(stack, weights).tolist() == [1.0, 40.0]


def test_the_sum_of_no_models_is_zeros() -> None:
    found = weighted_sum(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0))
    assert found.tolist() == [0, 0, 0]
    assert found.dtype == torch.float64


def test_a_weighted_sum_changes_no_input_and_shares_no_memory_with_one() -> None:
    stack = torch.ones(1, 3)
    weighted_sum(stack, torch.ones(1)).add_(5)
    assert stack.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("tile", [7, 64, 1000, 4097])
def test_tiles_of_a_weighted_sum_have_the_bytes_of_the_whole(tile: int) -> None:
    generator = torch.Generator().manual_seed(0)
    stack, weights = torch.randn(7, 5001, generator=generator), torch.rand(7, generator=generator)
    parts = [weighted_sum(stack[:, a : a + tile], weights) for a in range(0, 5001, tile)]
    assert torch.equal(torch.cat(parts), weighted_sum(stack, weights))


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 5, 3)])
def test_one_value_for_each_model_multiplies_a_stack_of_any_shape(shape: tuple[int, ...]) -> None:
    found = per_model(torch.tensor([2.0, 3.0]), torch.ones(shape)) * torch.ones(shape)
    assert found[0].eq(2).all()
    assert found[1].eq(3).all()


# --- angles


def test_products_of_all_pairs_stand_in_order_and_in_float64() -> None:
    a, b, c = [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]
    found = gram(torch.tensor([a, b, c]))
    pairs = [(a, a), (a, b), (a, c), (b, b), (b, c), (c, c)]
    assert found.dtype == torch.float64
    assert found.tolist() == [[x[0] * y[0], x[1] * y[1]] for x, y in pairs]


def test_products_of_float32_are_exact() -> None:
    x = 1 + 2.0**-23
    assert gram(torch.tensor([[x]])).item() == x * x


@settings(deadline=None)
@given(t=st.floats(0, 1), theta=st.floats(0.04, math.pi - 0.04), a=st.floats(0.01, 100), b=st.floats(0.01, 100))
def test_the_way_between_two_directions_is_walked_at_an_even_pace(t: float, theta: float, a: float, b: float) -> None:
    """Unit vectors û and v̂ at angle θ: the result has length 1 and stands at angle tθ from û."""
    ca, cb = slerp_coefficients(a * a, a * b * math.cos(theta), b * b, t)
    assert slerp_coefficients(1.0, math.cos(theta), 1.0, t) == pytest.approx((ca, cb), abs=1e-9)
    assert ca * ca + 2 * ca * cb * math.cos(theta) + cb * cb == pytest.approx(1.0, abs=1e-9)
    assert ca + cb * math.cos(theta) == pytest.approx(math.cos(t * theta), abs=1e-9)


@pytest.mark.parametrize("cosine", [-1.0, -0.9999, -0.5, 0.0, 0.5, 0.9995, 0.99951, 1.0])
def test_the_ends_are_the_models_themselves(cosine: float) -> None:
    assert slerp_coefficients(4.0, 6.0 * cosine, 9.0, 0.0) == pytest.approx((1, 0), abs=1e-12)
    assert slerp_coefficients(4.0, 6.0 * cosine, 9.0, 1.0) == pytest.approx((0, 1), abs=1e-12)


@pytest.mark.parametrize("cosine", [1.0, -1.0, 0.9996, -0.9996, 1 + 1e-12, -1 - 1e-12])
def test_nearly_parallel_models_are_interpolated_linearly(cosine: float) -> None:
    assert slerp_coefficients(1.0, cosine, 1.0, 0.3) == (1.0 - 0.3, 0.3)


def test_at_the_limit_itself_the_arc_is_still_taken() -> None:
    angle = math.acos(0.9995)
    expected = math.sin(0.7 * angle) / math.sin(angle), math.sin(0.3 * angle) / math.sin(angle)
    assert slerp_coefficients(1.0, 0.9995, 1.0, 0.3) == pytest.approx(expected, rel=1e-12)
    assert slerp_coefficients(1.0, 0.9995, 1.0, 0.3) != (0.7, 0.3)
    assert slerp_coefficients(1.0, 0.99950001, 1.0, 0.3) == (0.7, 0.3)
    assert slerp_coefficients(1.0, 0.9995, 1.0, 0.3) == pytest.approx((0.7, 0.3), abs=1e-4)


@pytest.mark.parametrize(("aa", "bb"), [(0.0, 4.0), (4.0, 0.0), (0.0, 0.0)])
def test_a_zero_vector_stands_at_right_angles(aa: float, bb: float) -> None:
    half = math.sqrt(0.5)
    assert slerp_coefficients(aa, 0.0, bb, 0.5) == pytest.approx((half, half))
    assert slerp_coefficients(aa, 0.0, bb, 0.0) == pytest.approx((1, 0))


@settings(deadline=None)
@given(t=st.floats(0, 1), cosine=st.floats(-1, 1))
def test_the_two_models_may_change_places(t: float, cosine: float) -> None:
    one, other = slerp_coefficients(1.0, cosine, 4.0, t), slerp_coefficients(4.0, cosine, 1.0, 1.0 - t)
    assert one == pytest.approx(other[::-1], abs=1e-9)


# --- the package


def test_every_name_is_found_where_it_lives() -> None:
    for name in tensors.__all__:
        assert getattr(tensors, name) is getattr(import_module(f"cuvee.tensors.{tensors._HOME[name]}"), name)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'softmax'"):
        _ = tensors.softmax


@pytest.mark.parametrize("n", [1, 1024, 65 * 1024, 130 * 1024 + 7])
@pytest.mark.parametrize("models", [1, 2, 3])
def test_products_summed_slice_by_slice_have_the_bytes_of_the_whole(models: int, n: int) -> None:
    stack = torch.randn(models, n, generator=torch.Generator().manual_seed(n))
    assert gram_blocks(stack, 2048).joined().equal(block_sums(gram(stack)))
    assert list(gram_blocks(stack, 2048).parts) == [2]
