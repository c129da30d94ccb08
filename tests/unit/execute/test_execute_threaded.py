"""The threaded runner by itself: rounds, order, memory, errors."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint import MemoryReader
from cuvee.execute.plain import run_step
from cuvee.execute.threaded import run_threaded
from cuvee.methods import Job, Method, Round
from cuvee.planning.model import Step
from tests.support.benches import Table, table
from tests.support.checkpoints import assert_same
from tests.support.merging import linear


def models(*sizes: int) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return {m: {f"t{i:02}": torch.randn(n, generator=generator) for i, n in enumerate(sizes)} for m in "ab"}


def run(made: Table, threads: int, tile: int = 1024) -> list[str]:
    """Carry out the bench; gives the tensors in the order they were completed in."""
    order: list[str] = []
    run_threaded(made.bench, threads=threads, tile=tile, finished=lambda step: order.append(step.out.name))
    return order


# --- rounds


@dataclasses.dataclass(frozen=True)
class Seen:
    """A statistic that remembers what it was added up from."""

    starts: frozenset[int]
    total: float

    def __add__(self, other: Seen) -> Seen:
        assert not self.starts & other.starts
        return Seen(self.starts | other.starts, self.total + other.total)


def counting(rounds: int, concluded: list[tuple[int, Any]]) -> Method:
    """`linear`, preceded by rounds that see every tile once and hand on how many rounds there were."""

    def observe(stack: Tensor, start: int, job: Job, known: Any) -> Seen:
        return Seen(frozenset({start}), float(stack.shape[1]))

    def conclude(total: Seen, job: Job, known: Any) -> int:
        assert total.total == job.numel
        assert total.starts == set(range(0, job.numel, 1024))
        concluded.append((job.numel, known))
        return (known or 0) + 1

    def measure(job: Job, done: int, known: Any) -> Round | None:
        assert known == (done or None)
        return Round(observe, conclude) if done < rounds else None

    return dataclasses.replace(methods.get("linear"), measure=measure)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_every_round_sees_every_tile_once(rounds: int, threads: int) -> None:
    concluded: list[tuple[int, Any]] = []
    made = table(linear("a", "b"), models(5000, 1024, 1, 3000), method=counting(rounds, concluded))
    run(made, threads)
    expected = [(n, known or None) for n in (5000, 1024, 1, 3000) for known in range(rounds)]
    assert sorted(concluded, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_result_is_that_of_the_plain_runner(threads: int) -> None:
    given = models(5000, 1024, 1, 3000)
    made, plain = table(linear("a", "b"), given), table(linear("a", "b"), given)
    for step in plain.bench.plan.steps:
        run_step(plain.bench, step)
    run(made, threads)
    assert_same(made.result, plain.result)


# --- order and memory


def test_one_worker_completes_tensors_in_their_order() -> None:
    made = table(linear("a", "b"), models(3000, 10, 5000, 1))
    assert run(made, 1) == [step.out.name for step in made.bench.plan.steps] == ["t00", "t01", "t02", "t03"]


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_every_tensor_is_completed_once_and_after_its_last_tile(threads: int) -> None:
    made = table(linear("a", "b"), models(*[2500] * 20))
    seen: list[Step] = []

    def finished(step: Step) -> None:
        name = step.out.name
        a, b = (made.bench.readers[i].read(name, 0, 2500) for i in (0, 1))
        assert torch.equal(made.writer._filling[name], (a * 0.25 + b * 0.75) / 1.0)
        seen.append(step)

    run_threaded(made.bench, threads=threads, tile=1024, finished=finished)
    assert sorted(step.out.name for step in seen) == sorted(step.out.name for step in made.bench.plan.steps)


class Watching(MemoryReader):
    """Notes how many tensors are under way at a time."""

    under_way: set[str]
    most: int

    def read(self, name: str, start: int, stop: int) -> Tensor:
        type(self).under_way.add(name)
        type(self).most = max(self.most, len(self.under_way))
        time.sleep(0.0005)
        return super().read(name, start, stop)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_more_tensors_are_open_than_workers(threads: int) -> None:
    Watching.under_way, Watching.most = set(), 0
    made = table(linear("a", "b"), models(*[4000] * 25), reader=Watching)
    run_threaded(
        made.bench, threads=threads, tile=1024, finished=lambda step: Watching.under_way.discard(step.out.name)
    )
    assert 1 <= Watching.most <= threads


def test_more_workers_than_tiles() -> None:
    assert run(table(linear("a", "b"), models(10)), 16) == ["t00"]


def test_nothing_to_do() -> None:
    assert run(table(linear("a", "b"), {"a": {}, "b": {}}), 3) == []


@pytest.mark.parametrize("threads", [1, 4])
def test_workers_have_one_thread_of_torch_each_and_no_gradients(threads: int) -> None:
    seen: set[tuple[int, bool]] = set()
    made = table(linear("a", "b"), models(3000, 3000))

    def finished(step: Step) -> None:
        seen.add((torch.get_num_threads(), torch.is_grad_enabled()))

    run_threaded(made.bench, threads=threads, tile=1024, finished=finished)
    assert seen == {(1, False)}


# --- errors


class Breaking(MemoryReader):
    """Cannot read one tensor."""

    def read(self, name: str, start: int, stop: int) -> Tensor:
        if name == "t03":
            raise ConnectionError(f"{self.label} {start}")
        return super().read(name, start, stop)


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_of_a_worker_is_raised(threads: int) -> None:
    made = table(linear("a", "b"), models(*[3000] * 30), reader=Breaking)
    done: list[str] = []
    with pytest.raises(ConnectionError, match=r"a \d+"):
        run_threaded(made.bench, threads=threads, tile=1024, finished=lambda step: done.append(step.out.name))
    assert len(done) < 3 + 2 * threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cuvee-")]


@pytest.mark.parametrize("where", ["measure", "observe", "conclude"])
@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_of_a_method_is_raised(where: str, threads: int) -> None:
    def fail(*_: Any) -> Any:
        raise ArithmeticError(where)

    def measure(job: Job, done: int, known: Any) -> Round | None:
        if where == "measure":
            fail()
        return Round(
            fail if where == "observe" else lambda *_: Seen(frozenset(), 0.0),
            fail if where == "conclude" else lambda *_: None,
        )

    method = dataclasses.replace(methods.get("linear"), measure=measure)
    made = table(linear("a", "b"), models(3000, 3000), method=method)
    with pytest.raises(ArithmeticError, match=where):
        run(made, threads)


def test_of_several_errors_the_first_is_told() -> None:
    """A later one is often only a consequence."""
    first = threading.Event()

    class Both(MemoryReader):
        def read(self, name: str, start: int, stop: int) -> Tensor:
            if name == "t00":
                first.set()
                raise ValueError("first")
            first.wait(5)
            time.sleep(0.05)
            raise RuntimeError("second")

    made = table(linear("a", "b"), models(10, 10), reader=Both)
    with pytest.raises(ValueError, match="first"):
        run(made, 2)
