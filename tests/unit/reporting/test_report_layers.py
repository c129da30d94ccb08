"""Figures of layers against slow formulas, and how much is read for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from cuvee.checkpoint import MemoryReader
from cuvee.reporting.layers import BINS, BLOCK, MOST, Cell, Slot, measure, spread

SHAPE = (7, 5)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reader(name: str, **tensors: Tensor) -> MemoryReader:
    return MemoryReader(name, tensors)


def slow_cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def slow_norm(a: Sequence[float]) -> float:
    return math.sqrt(math.fsum(x * x for x in a))


def slow_conflict(own: Sequence[float], total: Sequence[float]) -> float:
    pairs = [(x, s) for x, s in zip(own, total, strict=True) if x != 0 and s != 0]
    return sum((x > 0) != (s > 0) for x, s in pairs) / len(pairs)


def flat(tensor: Tensor) -> list[float]:
    return [float(x) for x in tensor.double().flatten()]


def less(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def only(cells: Sequence[Cell]) -> Cell:
    assert len(cells) == 1
    return cells[0]


def one_slot(count: int, base: bool) -> Slot:
    models: Mapping[int, str] = dict.fromkeys(range(count), "w")
    return Slot("w", "3", "mlp.up_proj", models, (count, "w") if base else None)


def test_with_a_base_figures_are_those_of_the_changes() -> None:
    base, one, two = drawn(0, *SHAPE), drawn(1, *SHAPE), drawn(2, *SHAPE)
    one[0] = base[0]  # entries that a model did not change have no sign
    merged = base + 0.3 * (one - base) + 0.8 * (two - base)
    readers = [reader("one", w=one), reader("two", w=two), reader("base", w=base)]
    cell = only(measure([one_slot(2, base=True)], readers, reader("merge", w=merged), budget=1 << 20))

    deltas = [less(flat(model), flat(base)) for model in (one, two)]
    delta = less(flat(merged), flat(base))
    total = [a + b for a, b in zip(*deltas, strict=True)]
    assert (cell.layer, cell.part, cell.based, cell.entries, cell.of) == ("3", "mlp.up_proj", True, 35, 35)
    for number in (0, 1):
        found = cell.models[number]
        assert found.cosine == pytest.approx(slow_cosine(deltas[number], delta), abs=1e-12)
        assert found.ratio == pytest.approx(slow_norm(deltas[number]) / slow_norm(flat(base)), abs=1e-12)
        assert found.conflict == pytest.approx(slow_conflict(deltas[number], total), abs=1e-12)
        assert sum(found.counts) == 35
    assert cell.merged.cosine == pytest.approx(1)
    assert cell.merged.ratio == pytest.approx(slow_norm(delta) / slow_norm(flat(base)), abs=1e-12)


def test_without_a_base_directions_are_those_of_the_weights_and_sizes_those_from_the_mean() -> None:
    one, two = drawn(1, *SHAPE), drawn(2, *SHAPE)
    merged = 0.9 * one + 0.1 * two
    readers = [reader("one", w=one), reader("two", w=two)]
    cell = only(measure([one_slot(2, base=False)], readers, reader("merge", w=merged), budget=1 << 20))

    mean = [(a + b) / 2 for a, b in zip(flat(one), flat(two), strict=True)]
    total = [a + b for a, b in zip(flat(one), flat(two), strict=True)]
    assert not cell.based
    for number, model in enumerate((one, two)):
        assert cell.models[number].cosine == pytest.approx(slow_cosine(flat(model), flat(merged)), abs=1e-12)
        assert cell.models[number].conflict == pytest.approx(slow_conflict(flat(model), total), abs=1e-12)
        wanted = slow_norm(less(flat(model), mean)) / slow_norm(mean)
        assert cell.models[number].ratio == pytest.approx(wanted, abs=1e-12)


def test_the_histogram_counts_changes_between_minus_and_plus_its_edge() -> None:
    base, change = torch.zeros(310), torch.linspace(-1, 1, 310)
    readers = [reader("one", w=change), reader("base", w=base)]
    cell = only(measure([one_slot(1, base=True)], readers, reader("merge", w=change / 2), budget=1 << 20))
    assert cell.edge == pytest.approx(1)
    width = 2 * cell.edge / BINS
    slow = [0] * BINS
    for value in flat(change):
        slow[min(BINS - 1, int((value + cell.edge) / width))] += 1
    assert list(cell.models[0].counts) == slow
    assert cell.merged.counts[0] == 0
    assert sum(cell.merged.counts) == 310


def test_a_few_huge_changes_do_not_squeeze_the_rest_into_one_bar() -> None:
    change = torch.linspace(-1, 1, 10_000)
    change[0] = 1e6
    readers = [reader("one", w=change), reader("base", w=torch.zeros(10_000))]
    cell = only(measure([one_slot(1, base=True)], readers, reader("merge", w=change), budget=1 << 20))
    assert cell.edge == pytest.approx(1, abs=1e-2)
    assert sum(cell.models[0].counts) == 10_000
    assert max(cell.models[0].counts) < 1_000


def test_what_has_no_value_is_told_as_none() -> None:
    base, same = drawn(0, *SHAPE), drawn(0, *SHAPE)
    readers = [reader("same", w=same), reader("two", w=drawn(2, *SHAPE)), reader("base", w=base)]
    cell = only(measure([one_slot(2, base=True)], readers, reader("merge", w=base), budget=1 << 20))
    assert cell.models[0].cosine is None
    assert cell.models[0].conflict is None
    assert cell.models[0].ratio == 0
    assert cell.models[1].cosine is None
    assert cell.models[1].conflict == 0


def test_nan_and_infinity_count_as_zero() -> None:
    base, one = torch.ones(4), torch.tensor([2.0, float("nan"), float("inf"), 2.0])
    readers = [reader("one", w=one), reader("base", w=base)]
    found = only(measure([one_slot(1, base=True)], readers, reader("merge", w=one), budget=1 << 20)).models[0]
    assert found.cosine == pytest.approx(1)
    assert found.ratio == pytest.approx(1)


def test_rounding_to_a_coarser_dtype_is_no_change() -> None:
    base = drawn(0, 64)
    readers = [reader("one", w=base.clone()), reader("two", w=base.clone()), reader("base", w=base)]
    coarse = reader("merge", w=base.bfloat16())
    cell = only(measure([one_slot(2, base=True)], readers, coarse, budget=1 << 20))
    assert cell.merged.ratio == 0


def test_experts_are_one_cell_and_other_models_another() -> None:
    names = ["a", "b", "c"]
    tensors = {name: drawn(number, 4) for number, name in enumerate(names)}
    readers = [reader(str(n), **{k: v + n for k, v in tensors.items()}) for n in range(3)]
    merged = reader("merge", **tensors)
    slots = [Slot(name, "0", "experts.*.w", {0: name, 1: name}, None) for name in ("a", "b")]
    slots.append(Slot("c", "0", "experts.*.w", {0: "c", 2: "c"}, None))
    cells = measure(slots, readers, merged, budget=1 << 20)
    assert [(cell.entries, sorted(cell.models)) for cell in cells] == [(8, [0, 1]), (4, [0, 2])]


def test_tensors_that_cannot_be_compared_are_passed_over() -> None:
    whole, other = torch.arange(4), torch.ones(5)
    readers = [
        reader("one", w=whole, v=other, x=torch.ones(2)),
        reader("two", w=whole, v=torch.ones(4), x=torch.ones(2)),
    ]
    merged = reader("merge", w=whole, v=torch.ones(5))
    slots = [Slot(name, "0", name, {0: name, 1: name}, None) for name in ("w", "v", "x")]
    assert measure([*slots, Slot("v", "0", "copied", {0: "v"}, None)], readers, merged, budget=1 << 20) == ()


class Counting(MemoryReader):
    def __init__(self, label: str, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(label, tensors)
        self.entries = 0

    def read(self, name: str, start: int, stop: int) -> Tensor:
        self.entries += stop - start
        return super().read(name, start, stop)


def test_no_more_is_read_than_was_allowed_and_all_of_what_is_small() -> None:
    sizes = {"small": 100, "middle": 40 * BLOCK, "large": 100 * BLOCK}
    tensors = {name: torch.ones(size) for name, size in sizes.items()}
    readers = [Counting("one", tensors), Counting("two", tensors)]
    slots = [Slot(name, "0", name, {0: name, 1: name}, None) for name in sizes]
    budget = 60 * BLOCK * 4
    steps: list[tuple[int, int]] = []
    cells = measure(slots, readers, Counting("merge", tensors), budget=budget, seen=lambda *at: steps.append(at))
    read = {cell.part: cell.entries for cell in cells}
    assert read["small"] == 100
    assert 25 * BLOCK <= read["middle"] <= read["large"]
    assert [one.entries for one in readers] == [sum(read.values())] * 2
    assert sum(read.values()) * 4 <= budget
    assert {cell.part: cell.of for cell in cells} == sizes
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_blocks_are_spread_over_the_whole_tensor() -> None:
    blocks = list(spread(100 * BLOCK + 5, 4 * BLOCK))
    assert len(blocks) == 4
    assert all(stop - start == BLOCK for start, stop in blocks)
    assert blocks[0][0] == 0
    assert blocks[-1][0] >= 70 * BLOCK
    assert list(spread(3, MOST)) == [(0, 3)]
