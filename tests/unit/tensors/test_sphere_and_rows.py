"""Means of directions from inner products, sums along rows, spreads over models: the parts that methods are made of."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee import tensors
from cuvee.methods.job import Job
from cuvee.methods.largest import Prefix, largest_first
from cuvee.tensors import (
    arc_coefficients,
    directions_of,
    divergences,
    karcher_coefficients,
    keep_above,
    multislerp_coefficients,
    row_products,
    row_sums,
    slerp_coefficients,
    spread,
    stock_ratio,
)

INFINITE = [math.inf, math.inf, math.inf]


def products(vectors: list[list[float]]) -> list[float]:
    count = len(vectors)
    pairs = [(vectors[i], vectors[j]) for i in range(count) for j in range(i, count)]
    return [math.fsum(x * y for x, y in zip(a, b)) for a, b in pairs]


def test_lengths_and_angles() -> None:
    found = directions_of(products([[2.0, 0.0], [1.0, math.sqrt(3)], [0.0, 0.0]]))
    assert found.norms == pytest.approx((2.0, 2.0, 0.0))
    assert found.cosines[0] == pytest.approx((1.0, 0.5, 0.0))
    assert found.cosines[2] == (0.0, 0.0, 0.0)
    assert found.length([1.0, 1.0, 5.0]) == pytest.approx(math.sqrt(3))
    assert directions_of(INFINITE) is None


def test_what_has_no_angle_is_averaged() -> None:
    assert multislerp_coefficients(INFINITE, [0.25, 0.75]) == (0.25, 0.75)
    assert karcher_coefficients(INFINITE, [1.0, 3.0], 10, 1e-5) == (0.25, 0.75)
    assert arc_coefficients(INFINITE, 0.25) == (0.75, 0.25)
    assert stock_ratio(INFINITE) == 1.0


@settings(deadline=None)
@given(
    angles=st.lists(st.floats(0.0, 1.5), min_size=2, max_size=5),
    weights=st.lists(st.floats(0.125, 4.0), min_size=5, max_size=5),
)
def test_on_a_circle_the_karcher_mean_is_the_mean_of_the_angles(angles: list[float], weights: list[float]) -> None:
    vectors, weights = [[math.cos(a), math.sin(a)] for a in angles], weights[: len(angles)]
    found = karcher_coefficients(products(vectors), weights, 50, 0.0)
    at = math.atan2(*(math.fsum(c * v[i] for c, v in zip(found, vectors)) for i in (1, 0)))
    assert at == pytest.approx(math.fsum(w * a for w, a in zip(weights, angles)) / math.fsum(weights), abs=1e-7)


@pytest.mark.parametrize("cosine", [-0.9, 0.0, 0.5, 0.999])
def test_an_arc_is_that_of_slerp(cosine: float) -> None:
    assert arc_coefficients([4.0, 6 * cosine, 9.0], 0.3) == pytest.approx(slerp_coefficients(4.0, 6 * cosine, 9.0, 0.3))


def test_an_arc_of_next_to_nothing_is_still_one() -> None:
    """Where slerp takes the straight line, 1.8° and less; for opposite directions that is another place."""
    found = arc_coefficients([1.0, -0.9999, 1.0], 0.25)
    theta = math.acos(-0.9999)
    assert found == pytest.approx((math.sin(0.75 * theta) / math.sin(theta), math.sin(0.25 * theta) / math.sin(theta)))
    assert arc_coefficients([1.0, -1.0, 1.0], 0.25) == (0.75, 0.25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("width", [0, 1, 2, 3, 7, 64, 1000])
def test_a_row_sums_to_the_same_bits_among_any_others(width: int, dtype: torch.dtype) -> None:
    values = torch.randn(300, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64).to(dtype)
    found = row_sums(values)
    assert found.shape == (300,)
    assert torch.allclose(found, values.sum(1), atol=1e-4)
    assert torch.equal(torch.cat([row_sums(values[i : i + 1]) for i in range(300)]), found)
    assert torch.equal(row_sums(values.T.contiguous().T), found)


def test_products_of_rows() -> None:
    stack = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(1))
    wide = stack.double()
    want = [(wide[i] * wide[j]).sum(1) for i in range(3) for j in range(i, 3)]
    assert torch.allclose(row_products(stack), torch.stack(want), rtol=1e-14)


def test_divergences_are_those_of_softmax_and_the_same_among_any_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.randn(2000, 40, generator=generator, dtype=torch.float64)
    q = p + 0.1 * torch.randn(2000, 40, generator=generator, dtype=torch.float64)
    found = divergences(p, q)
    logs = p.log_softmax(1)
    assert torch.allclose(found, (logs.exp() * (logs - q.log_softmax(1))).sum(1), rtol=1e-9, atol=1e-15)
    assert torch.equal(torch.cat([divergences(p[i : i + 7], q[i : i + 7]) for i in range(0, 2000, 7)]), found)
    assert torch.equal(divergences(p, p), torch.zeros(2000, dtype=torch.float64))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=5))
def test_spread_orders_as_the_variance_and_is_exact_on_a_grid(models: list[list[int]]) -> None:
    stack = torch.tensor(models, dtype=torch.float32) / 8
    found, count = spread(stack)[0].tolist(), len(models)
    for value, column in zip(found, zip(*models)):
        squared = count * sum(x * x for x in column) - sum(column) ** 2  # K² σ², in whole numbers
        assert value == torch.tensor(math.sqrt(squared) / 8).item()


def test_spread_is_0_only_where_all_are_equal_and_never_overflows() -> None:
    third = torch.tensor([[1 / 3, 1e-30, 3e38], [1 / 3, 2e-30, -3e38], [1 / 3, 1e-30, 0.0]])
    found = spread(third)[0]
    assert found[0] == 0
    assert 1e-30 < found[1] < 2e-30
    assert not found.isnan().any()


def test_only_what_is_above_a_limit_is_kept() -> None:
    values = torch.tensor([[0.5, -0.5, 0.50001, -7.0, 0.0, -0.0, math.inf]])
    assert keep_above(values, 0.5).tolist() == [[0.0, 0.0, values[0, 2].item(), -7.0, 0.0, 0.0, math.inf]]
    assert keep_above(values, 0.0).tolist() == values.tolist()


@pytest.mark.parametrize("edges", [True, False])
def test_the_kth_largest_of_a_derived_row(edges: bool) -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, 5.0]])
    job, known, passes = Job({}, 6, torch.float32), Prefix(torch.tensor([3])), 0
    while isinstance(known, Prefix):
        following = largest_first(job, known, lambda stack, _start: stack * 2, edges=edges)
        known, passes = following.conclude(following.observe(values, 0, job, known), job, known), passes + 1
    assert known.threshold.tolist() == [4.0]
    assert known.edges == (((0, 1),) if edges else None)
    assert passes == (5 if edges else 4)
    kept = tensors.keep_where(values, tensors.cut_margin(values * 2, known, 0))
    assert kept.tolist() == [[3.0, 0.0, 2.0, 0.0, 0.0, 5.0] if edges else [3.0, 0.0, 2.0, 2.0, 2.0, 5.0]]
