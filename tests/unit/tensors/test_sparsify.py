"""The k largest entries by magnitude, found from histograms: the set that a stable sort would keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cuvee.tensors import BLOCK, Counts, Cut, digit_counts, digits_in, keep_drawn, keep_largest, next_digit
from cuvee.tensors.sparsify import (
    digit_width,
    edges_of,
    equal_counts,
    magnitude_bits,
    magnitude_from_bits,
    places_of,
)

DTYPES = {32: torch.float32, 64: torch.float64}
SMALLEST = {32: 2.0**-149, 64: 5e-324}
WIDTHS = [8, 16]


def kept_by_sorting(values: Sequence[float], k: int) -> list[bool]:
    """Sort by magnitude, the first of equals first; the first k stay."""
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
    kept = set(order[:k])
    return [i in kept for i in range(len(values))]


def starts_of(n: int, tile: int) -> range:
    return range(0, n, tile)


def cut_of(deltas: Tensor, wanted: Sequence[int], width: int, tile: int = BLOCK) -> Cut:
    """The cut that keeps `wanted` entries of each delta, by the passes that a method makes over its tiles."""
    prefix, left = None, torch.tensor(wanted)
    tiles = [deltas[:, a : a + tile] for a in starts_of(deltas.shape[1], tile)]
    for digit in range(digits_in(deltas.dtype, width)):
        counts = reduce(add, [digit_counts(part, prefix, digit, width) for part in tiles])
        prefix, left, _ = next_digit(counts, prefix, left)
    starts = starts_of(deltas.shape[1], tile)
    equal = reduce(add, [equal_counts(part, prefix, a) for part, a in zip(tiles, starts, strict=True)])
    return Cut(magnitude_from_bits(prefix, deltas.dtype), edges_of(equal.joined(), left))


def trimmed(deltas: Tensor, wanted: Sequence[int], width: int, tile: int = BLOCK) -> Tensor:
    """The deltas with their largest entries only, tile by tile."""
    cut = cut_of(deltas, wanted, width, tile)
    return torch.cat([keep_largest(deltas[:, a : a + tile], cut, a) for a in starts_of(deltas.shape[1], tile)], 1)


def numbers(bits: int) -> st.SearchStrategy[float]:
    """Any numbers, and a few of which there will be several: zeros of both signs, denormals, infinities."""
    few = [0.0, -0.0, 1.0, -1.0, 2.5, SMALLEST[bits], -SMALLEST[bits], 3 * SMALLEST[bits], math.inf, -math.inf]
    return st.sampled_from(few) | st.floats(width=bits, allow_nan=False)


def rows(bits: int) -> st.SearchStrategy[list[list[float]]]:
    one_row = st.integers(1, 30).flatmap(lambda n: st.lists(numbers(bits), min_size=n, max_size=n))
    return one_row.flatmap(lambda row: st.lists(st.permutations(row), min_size=1, max_size=3))


# --- which entries stay


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("bits", DTYPES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_entries_kept_are_those_a_stable_sort_keeps(bits: int, width: int, data: st.DataObject) -> None:
    deltas = torch.tensor(data.draw(rows(bits)), dtype=DTYPES[bits])
    n = deltas.shape[1]
    wanted = [data.draw(st.integers(max(1, int(row.isinf().sum())), n)) for row in deltas]
    found = trimmed(deltas, wanted, width)
    kept = torch.tensor([kept_by_sorting(row.tolist(), k) for row, k in zip(deltas, wanted)])
    assert found.dtype == deltas.dtype
    assert torch.equal(found, torch.where(kept, deltas, 0.0))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("values", ["all equal", "two sizes", "denormals", "alternating signs"])
def test_ties_across_blocks_are_broken_by_position(values: str, dtype: torch.dtype, width: int) -> None:
    n = 2 * BLOCK + 100
    place = torch.arange(n)
    tiny = {torch.float32: 2.0**-149, torch.float64: 5e-324}[dtype]
    drawn = {
        "all equal": torch.full((n,), 0.3),
        "two sizes": (place % 7 == 3) + 1.0,
        "denormals": (place % 3) * torch.tensor(tiny, dtype=dtype),
        "alternating signs": 1.0 - 2.0 * (place % 2),
    }[values].to(dtype)
    for k in (1, BLOCK + 1, 2 * BLOCK + 77, n):
        kept = torch.tensor(kept_by_sorting(drawn.tolist(), k))
        for tile in (BLOCK, 4 * BLOCK):
            found = trimmed(drawn[None], [k], width, tile)
            assert torch.equal(found[0], torch.where(kept, drawn, 0.0)), (k, tile)


def test_exactly_as_many_stay_as_are_wanted() -> None:
    generator = torch.Generator().manual_seed(0)
    deltas = torch.randn(3, 5000, generator=generator).half().float() + 2  # thousands of ties, no zero
    for width in WIDTHS:
        assert trimmed(deltas, [1, 2500, 4999], width).count_nonzero(1).tolist() == [1, 2500, 4999]


def test_a_cut_without_counts_keeps_all_entries_at_the_threshold() -> None:
    deltas = torch.tensor([[1.0, -2.0, 2.0, 0.5], [1.0, 1.0, 3.0, -1.0]])
    cut = Cut(torch.tensor([2.0, 3.0]))
    assert keep_largest(deltas, cut, 0).tolist() == [[0, -2, 2, 0], [0, 0, 3, 0]]


def test_deltas_are_not_changed_in_place() -> None:
    deltas = torch.tensor([[1.0, -2.0]])
    trimmed(deltas, [1], 8)
    assert deltas.tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_what_is_no_number_is_never_trimmed_before_a_number(kept: int) -> None:
    """With `--allow-nonfinite` a damaged entry stays seen, whether or not others equal the threshold."""
    deltas = torch.tensor([[math.nan, 1.0, 1.0, 1.0, 0.0]])
    for cut in (Cut(torch.tensor([1.0]), ((0, kept),)), Cut(torch.tensor([1.0]))):
        assert keep_largest(deltas, cut, 0)[0, 0].isnan()


def test_infinities_beyond_the_quota_become_zero() -> None:
    found = trimmed(torch.tensor([[1.0, math.inf, -math.inf]]), [1], 8)
    assert found.tolist() == [[0.0, math.inf, 0.0]]


# --- the digits


@pytest.mark.parametrize("bits", DTYPES)
@settings(deadline=None)
@given(data=st.data())
def test_bits_of_magnitudes_order_as_magnitudes_do(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(numbers(bits), min_size=2, max_size=10))
    tensor = torch.tensor([values], dtype=DTYPES[bits])
    found = magnitude_bits(tensor)[0].tolist()
    for x, i in zip(values, found):
        for y, j in zip(values, found):
            assert (abs(x) < abs(y)) == (i < j)
    assert magnitude_from_bits(torch.tensor(found), DTYPES[bits]).tolist() == [abs(x) for x in values]


@pytest.mark.parametrize("width", WIDTHS)
def test_digits_cover_every_bit(width: int) -> None:
    assert digits_in(torch.float32, width) * width == 32
    assert digits_in(torch.float64, width) * width == 64


def test_large_tensors_take_wider_digits() -> None:
    widths = [digit_width(n) for n in (1, 1000, 1 << 17, 1 << 18, 1 << 30)]
    assert widths == sorted(widths)
    assert {widths[0], widths[-1]} == {8, 16}


@pytest.mark.parametrize("width", WIDTHS)
def test_histograms_of_tiles_add_up_to_that_of_the_whole(width: int) -> None:
    generator = torch.Generator().manual_seed(1)
    deltas = torch.randn(2, 3000, generator=generator)
    whole = digit_counts(deltas, None, 0, width)
    tiles = digit_counts(deltas[:, :1000], None, 0, width) + digit_counts(deltas[:, 1000:], None, 0, width)
    assert whole.values.shape == (2, 1 << width)
    assert torch.equal(tiles.values, whole.values)
    assert whole.values.sum(1).tolist() == [3000, 3000]


def test_a_later_digit_counts_only_entries_that_share_the_first() -> None:
    """1 and 1.5 have the same high bits (0x3F); 100 has others (0x42)."""
    deltas = torch.tensor([[1.0, -1.5, 100.0]])
    second = digit_counts(deltas, torch.tensor([0x3F]), 1, 8).values[0]
    assert {i: c for i, c in enumerate(second.tolist()) if c} == {0x80: 1, 0xC0: 1}


@pytest.mark.parametrize(
    ("wanted", "digit", "left", "here"), [(1, 3, 1, 2), (2, 3, 2, 2), (3, 1, 1, 3), (5, 1, 3, 3), (6, 0, 1, 1)]
)
def test_the_digit_of_the_wanted_entry_is_found(wanted: int, digit: int, left: int, here: int) -> None:
    """Two entries of digit 3, three of digit 1 and one of digit 0, from the largest down."""
    found = next_digit(Counts(torch.tensor([[1, 3, 0, 2]])), None, torch.tensor([wanted]))
    assert [part.tolist() for part in found] == [[digit], [left], [here]]


def test_a_digit_is_put_behind_those_known() -> None:
    prefix, _, _ = next_digit(Counts(torch.tensor([[0, 0, 1, 0]])), torch.tensor([0b1101]), torch.tensor([1]))
    assert prefix.tolist() == [0b110110]


# --- a random draw


def test_entries_stay_where_the_draw_is_below_the_density() -> None:
    deltas = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    draws = torch.tensor([[0.0, 0.5, 0.49], [0.999, 0.0, 0.5]])
    assert keep_drawn(deltas, draws, torch.tensor([0.5, 1.0])).tolist() == [[1, 0, 3], [4, 5, 6]]
    assert keep_drawn(deltas, draws, torch.tensor([0.25, 0.25])).tolist() == [[1, 0, 0], [0, 5, 0]]


# --- the edge among equals


@pytest.mark.parametrize(
    ("counts", "quota", "edge"),
    [
        ([0, 3, 0, 2], 1, (1, 1)),
        ([0, 3, 0, 2], 3, (1, 3)),
        ([0, 3, 0, 2], 4, (3, 1)),
        ([0, 3, 0, 2], 5, (3, 2)),
        ([1], 1, (0, 1)),
    ],
)
def test_the_block_in_which_a_quota_runs_out(counts: list[int], quota: int, edge: tuple[int, int]) -> None:
    assert edges_of(torch.tensor([counts]), torch.tensor([quota])) == (edge,)


@pytest.mark.parametrize("start", [0, BLOCK, 2 * BLOCK, 3 * BLOCK])
def test_a_tile_keeps_its_share_wherever_the_edge_lies(start: int) -> None:
    """All entries are equal and 10 of the third block stay."""
    cut = Cut(torch.tensor([1.0]), ((2, 10),))
    kept = [BLOCK if block < 2 else 10 if block == 2 else 0 for block in range(start // BLOCK, start // BLOCK + 3)]
    found = keep_largest(torch.ones(1, 3 * BLOCK), cut, start)
    assert found.view(3, BLOCK).sum(1).tolist() == kept


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_places_are_found_the_same_way_by_torch_and_by_numpy(dtype: torch.dtype) -> None:
    values = torch.tensor([3, 1, 3, 2, -3, 3], dtype=dtype)
    assert places_of(values, 3).tolist() == (values == 3).nonzero().squeeze(1).tolist() == [0, 2, 5]
    assert places_of(values[:0], 3).tolist() == []
