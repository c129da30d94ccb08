"""Singular triplets, nearest orthogonal factors and scaling by powers of two, against what linear algebra says."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.tensors import Matrices, keep_top, merge_matrices, nearest_orthogonal, off_the_known, triplets
from cuvee.tensors.lowrank import Triplets, shared_basis, side_by_side, times_power, triplets_beside

TALL_AND_WIDE = [(5, 3), (3, 5), (4, 4), (1, 6), (6, 1)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", TALL_AND_WIDE)
def test_triplets_are_the_matrix(shape):
    matrix = random(*shape)
    found = triplets(matrix)
    close(found.product(), matrix)
    assert (found.sigma.diff() <= 0).all()


def test_triplets_above_rounding_and_at_most_so_many():
    matrix = random(6, 2) @ random(2, 5, seed=1)
    assert len(triplets(matrix).sigma) == 2
    assert len(triplets(matrix, 1).sigma) == 1
    assert len(triplets(random(6, 5), 9).sigma) == 5
    assert len(triplets(matrix, floor=1e9).sigma) == 0
    assert len(triplets(torch.zeros(3, 4, dtype=torch.float64)).sigma) == 0


def test_what_is_left_out_can_be_freed():
    found = triplets(random(50, 40), 2)
    assert found.u.untyped_storage().nbytes() == 50 * 2 * 8
    assert found.vt.untyped_storage().nbytes() == 2 * 40 * 8


@pytest.mark.parametrize("shape", TALL_AND_WIDE)
def test_the_nearest_orthogonal_matrix(shape):
    matrix = random(*shape)
    found = nearest_orthogonal(matrix)
    gram = found.T @ found if shape[0] >= shape[1] else found @ found.T
    close(gram, torch.eye(min(shape), dtype=torch.float64))
    # no other matrix with orthonormal columns is nearer: the product with it is symmetric and positive
    stretch = found.T @ matrix
    close(stretch, stretch.T)
    assert torch.linalg.eigvalsh(stretch).min() > -1e-12


def test_the_nearest_partial_isometry_of_nothing():
    assert nearest_orthogonal(torch.zeros(3, 2, dtype=torch.float64)).tolist() == [[0.0, 0.0]] * 3
    assert nearest_orthogonal(torch.zeros(3, 0, dtype=torch.float64)).shape == (3, 0)


def test_flattened_and_side_by_side():
    one = Triplets(torch.eye(2)[:, :1], torch.tensor([4.0]), torch.eye(2)[:1])
    two = Triplets(torch.eye(2)[:, 1:], torch.tensor([2.0]), torch.eye(2)[1:])
    both = side_by_side([one, two])
    assert both.product().tolist() == [[4.0, 0.0], [0.0, 2.0]]
    assert both.flattened().tolist() == [[3.0, 0.0], [0.0, 3.0]]
    assert triplets(torch.zeros(2, 3)).flattened().tolist() == [[0.0] * 3] * 2


def test_beside_what_is_known():
    known = torch.eye(4, dtype=torch.float64)[:, :2]
    found = triplets_beside(random(4, 3), known, 4)
    close(known.T @ found.u, torch.zeros(2, 2, dtype=torch.float64))
    # a delta within what is known leaves rounding, which is nothing
    turned = torch.linalg.qr(random(4, 4)).Q[:, :2]
    assert len(triplets_beside(turned @ random(2, 3), turned, 4).sigma) == 0


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_what_is_off_the_known_is_orthogonal_to_it(alpha):
    known, delta = random(5, 4), random(5, 4, seed=1)
    left = off_the_known(delta, known, alpha)
    assert abs(float((left * known).sum())) < 1e-12
    assert torch.equal(off_the_known(delta, torch.zeros_like(known), alpha), delta)
    close(off_the_known(delta, 1e-9 * known, alpha), left)


def test_a_shared_basis_gives_the_deltas_back():
    deltas = torch.stack([random(4, 3, seed=i) for i in range(2)])
    basis = shared_basis(Matrices(deltas, 0))
    for with_sigma in (False, True):
        for delta, row in zip(deltas, basis.coordinates(with_sigma)):
            close(basis.lifted(row, with_sigma), delta)


@given(st.integers(1, 30), st.floats(0.01, 1.0), st.integers(0, 99))
@settings(deadline=None)
def test_so_many_are_kept_and_they_are_the_largest(size, density, seed):
    row = (random(1, size, seed=seed) * 2).round() / 2 + 0.25
    kept = keep_top(row, [density])[0]
    chosen = kept != 0
    assert int(chosen.sum()) == max(1, int(density * size))
    assert torch.equal(kept[chosen], row[0][chosen])
    assert not bool((~chosen).any()) or row[0][~chosen].abs().max() <= kept[chosen].abs().min()


@given(st.integers(-1074, 971), st.integers(1, 2**53 - 1))
def test_powers_of_two_change_no_digit(power, digits):
    value = math.ldexp(digits, power)
    exponent = math.frexp(value)[1]
    scaled = times_power(torch.tensor([value], dtype=torch.float64), -exponent)
    assert scaled.item() == math.frexp(value)[0]
    assert times_power(scaled, exponent).item() == value


def test_matrices_are_scaled_copies_made_one_at_a_time():
    stack = torch.tensor([[[3.0, -8.0]], [[0.0, 1.0]]], dtype=torch.float64)
    made = Matrices(stack, 4)
    first, second = made
    assert (first.tolist(), second.tolist()) == ([[3 / 16, -0.5]], [[0.0, 1 / 16]])
    assert stack.tolist() == [[[3.0, -8.0]], [[0.0, 1.0]]]
    assert made.total().tolist() == [[3 / 16, -7 / 16]]
    assert made.total([2.0, 1.0]).tolist() == [[6 / 16, -15 / 16]]


def test_merging_sees_entries_near_one_and_gives_the_dtype_of_the_deltas():
    def seen(matrices):
        assert max(float(m.abs().max()) for m in matrices) == 0.75
        return matrices.total()

    for dtype in (torch.float32, torch.float64):
        stack = torch.tensor([[[3.0, 0.5]], [[1.0, 1.0]]], dtype=dtype) * 2.0**100
        got = merge_matrices(stack, (1, 2), seen, scale=0.5)
        assert torch.equal(got, torch.tensor([[2.0, 0.75]], dtype=dtype) * 2.0**100)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(2, 2), (4,)])
def test_what_is_not_finite_makes_the_whole_tensor_so(value, shape):
    stack = torch.ones(3, 2, 2)
    stack[1, 0, 1] = value
    got = merge_matrices(stack, shape, lambda matrices: triplets(matrices.total()).product())
    assert got.dtype == torch.float32
    assert got.isnan().all()
