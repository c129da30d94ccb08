"""Statistics that add up: any cut into tiles, any order of addition, gives the bytes of the whole."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cuvee.tensors import BLOCK, Blocks, Counts, block_sums


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of very different sizes, so that another order of summation would show."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(-20, 20, shape, generator=generator).double()
    return torch.randn(*shape, generator=generator) * torch.exp2(sizes).float()


def tiles_of(values: Tensor, cuts: list[int]) -> list[Blocks]:
    """Block statistics of the runs between block numbers `cuts`."""
    n = values.shape[-1]
    edges = [0, *(c * BLOCK for c in sorted(set(cuts)) if 0 < c * BLOCK < n), n]
    return [Blocks.of(values[..., a:b], a) for a, b in pairwise(edges)]


def raw(tensor: Tensor) -> bytes:
    return bytes(tensor.contiguous().view(torch.uint8).flatten().tolist())


# --- the sums of blocks


@pytest.mark.parametrize("n", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_there_is_one_float64_sum_for_each_begun_block(n: int, lead: tuple[int, ...]) -> None:
    sums = block_sums(torch.ones(*lead, n))
    assert sums.dtype == torch.float64
    assert sums.shape == (*lead, math.ceil(n / BLOCK))
    last = n - BLOCK * (sums.shape[-1] - 1)
    assert sums[..., -1].eq(last).all()
    assert sums[..., :-1].eq(BLOCK).all()


def test_an_empty_tensor_has_no_blocks() -> None:
    assert block_sums(torch.zeros(3, 0)).shape == (3, 0)


def test_each_sum_is_that_of_its_own_run() -> None:
    values = torch.arange(2 * BLOCK + 5)
    starts = range(0, len(values), BLOCK)
    expected = [float(sum(range(start, min(start + BLOCK, len(values))))) for start in starts]
    assert block_sums(values).tolist() == expected


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=60))
def test_a_block_is_summed_in_float64_to_within_its_ten_roundings(numbers: list[float]) -> None:
    found = block_sums(torch.tensor(numbers)).item()
    size = math.fsum(map(abs, numbers))
    assert abs(found - math.fsum(numbers)) <= 10 * 2.0**-53 * size


# --- tiles


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 9 * BLOCK), cuts=st.lists(st.integers(1, 9)), seed=st.integers(0, 99))
def test_any_tiles_in_any_order_give_the_bytes_of_the_whole(n: int, cuts: list[int], seed: int) -> None:
    values = drawn(2, n, seed=seed)
    whole = Blocks.of(values, 0)
    tiles = tiles_of(values, cuts)
    random.Random(seed).shuffle(tiles)
    together = tiles[0]
    for tile in tiles[1:]:
        together = together + tile
    assert raw(together.joined()) == raw(whole.joined())
    assert together.total() == whole.total()


def test_addition_is_associative() -> None:
    a, b, c = tiles_of(drawn(3 * BLOCK), [1, 2])
    assert raw(((a + b) + c).joined()) == raw((a + (b + c)).joined())
    assert raw((c + (a + b)).joined()) == raw((a + (b + c)).joined())


def test_addition_leaves_its_operands_alone() -> None:
    a, b = tiles_of(torch.ones(2 * BLOCK), [1])
    together = a + b
    assert (a.total(), b.total(), together.total()) == ([BLOCK], [BLOCK], [2 * BLOCK])


def test_a_tile_that_starts_inside_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 1024 elements; this one starts at 1000"):
        Blocks.of(torch.ones(4), 1000)


# --- totals


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 3000), seed=st.integers(0, 99))
def test_a_total_of_products_is_their_correctly_rounded_sum(n: int, seed: int) -> None:
    """Products of 12-bit numbers are added without rounding in float64, so nothing but the exact sum is right."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(-(1 << 12), 1 << 12, (n,), generator=generator) / 16 for _ in range(2))
    exact = math.fsum(x * y for x, y in zip(a.tolist(), b.tolist()))
    assert Blocks.of(a.double() * b.double(), 0).total() == [exact]


def test_blocks_that_cancel_leave_what_is_small() -> None:
    """1e300 + 1 − 1e300 by floats is 0."""
    values = torch.zeros(3 * BLOCK, dtype=torch.float64)
    values[0], values[BLOCK], values[2 * BLOCK] = 1e300, 1.0, -1e300
    assert Blocks.of(values, 0).total() == [1.0]


def test_there_is_one_total_for_each_leading_row() -> None:
    values = torch.arange(6.0).reshape(2, 3, 1).expand(2, 3, 2000)
    assert Blocks.of(values, 0).total() == [2000.0 * i for i in range(6)]


def test_marks_are_counted() -> None:
    assert Blocks.of(torch.arange(5000) % 5 == 0, 0).total() == [1000.0]


def test_the_total_of_nothing_is_zero_for_each_row() -> None:
    assert Blocks.of(torch.zeros(3, 0), 0).total() == [0.0, 0.0, 0.0]


def test_infinities_of_both_signs_have_no_total_and_do_not_fail() -> None:
    values = torch.zeros(2 * BLOCK)
    values[0], values[BLOCK] = math.inf, -math.inf
    assert math.isnan(Blocks.of(values, 0).total()[0])


# --- counts


def test_counts_add_up_entry_by_entry() -> None:
    a, b, c = (Counts(torch.tensor(v)) for v in ([1, 2], [10, 20], [100, 200]))
    assert ((a + b) + c).values.tolist() == (a + (b + c)).values.tolist() == [111, 222]
    assert a.values.tolist() == [1, 2]


def test_counts_beyond_what_float32_can_count_are_exact() -> None:
    assert (Counts(torch.tensor([1 << 24])) + Counts(torch.tensor([1]))).values.tolist() == [(1 << 24) + 1]
