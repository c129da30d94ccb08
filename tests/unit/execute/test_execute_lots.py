"""Plans cut into lots: everything once, about equal, and whole where measuring would be repeated."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cuvee.execute.ledger import Ledger
from cuvee.execute.lots import GRAIN, Lot, all_but, cut
from cuvee.execute.resume import Finished
from cuvee.execute.work import Bench
from tests.support.benches import table
from tests.support.merging import recipe

SHAPES = {"big": 5 * GRAIN + 7, **{f"t{i}": 1000 + i for i in range(20)}, "middle": GRAIN // 2, "empty": 0}


def bench(method: str, finished: Finished | None = None) -> Bench:
    models = {name: {n: torch.zeros(size, dtype=torch.bfloat16) for n, size in SHAPES.items()} for name in "mab"}
    made = table(recipe(method, "m", "a", "b"), models).bench
    ledger = Ledger(made.plan, hashes=False, progress=None, finished=finished) if finished else made.ledger
    return Bench(made.plan, made.readers, made.writer, made.method, ledger)


def spans(lots: list[Lot]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for lot in lots:
        for name, ranges in lot.ranges.items():
            found.setdefault(name, []).extend(ranges)
    return {name: sorted(ranges) for name, ranges in found.items()}


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours as one; an overlap or a gap shows."""
    out: list[tuple[int, int]] = []
    for start, stop in ranges:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], stop)
        else:
            out.append((start, stop))
    return out


@pytest.mark.parametrize("method", ["linear", "ties", "dare_linear", "dare_ties", "slerp"])
@pytest.mark.parametrize("count", [1, 2, 8, 1000])
def test_every_element_is_in_one_lot(method: str, count: int) -> None:
    found = spans(cut(bench(method), count))
    assert {n: joined(r) for n, r in found.items()} == {n: [(0, size)] for n, size in SHAPES.items() if size}


def test_a_tensor_that_needs_no_measuring_is_cut_at_whole_tiles() -> None:
    lots = cut(bench("linear"), 4)
    ranges = spans(lots)["big"]
    assert len(ranges) > 3
    assert all(start % GRAIN == 0 for start, _ in ranges)
    total = sum(2 * size for size in SHAPES.values())
    assert max(lot.nbytes for lot in lots) <= -(-total // 4)
    assert sum(lot.nbytes for lot in lots) == total


def test_a_tensor_that_is_measured_stays_whole() -> None:
    lots = cut(bench("ties"), 100)
    assert spans(lots)["big"] == [(0, SHAPES["big"])]
    assert list(lots[0].ranges) == ["big"]
    assert [lot.nbytes for lot in lots] == sorted((lot.nbytes for lot in lots), reverse=True)


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_what_is_finished_is_left_out(method: str) -> None:
    ends = {"big": [(0, 3 * 1024), (GRAIN, 2 * GRAIN)], "t3": [(0, 1003)]}
    whole = bench(method)
    steps = [step for step in whole.plan.steps if step.out.name in ends]
    others = {"big": [(3 * 1024, GRAIN), (2 * GRAIN, SHAPES["big"])], "t3": []}
    finished = all_but(steps, lambda step: others[step.out.name])
    assert {n: [(e.start, e.stop) for e in found] for n, found in finished.entries.items()} == ends
    found: dict[str, Any] = spans(cut(bench(method, finished), 6))
    assert joined(found["big"]) == others["big"]
    assert "t3" not in found
