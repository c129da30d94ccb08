"""Tiles on a device: the bytes of the plain runner, whatever the tile, the number in flight and the memory there.

The runner takes any device of torch, so that everything but CUDA itself is tried here with the processor as the device.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint import MemoryReader
from cuvee.errors import InputError, ResourceError
from cuvee.execute import Digests, execute, offload
from cuvee.execute.lane import Lane
from cuvee.execute.place import Place
from cuvee.execute.proof import same
from cuvee.execute.turns import Turns
from cuvee.planning.room import SMALLEST_TILE
from cuvee.tensors import Blocks, Counts, Cut
from tests.support.benches import Table, table
from tests.support.checkpoints import assert_same
from tests.support.merging import METHODS, linear, recipe

HERE = Place(torch.device("cpu"), "the processor", 1 << 34)


def models(
    dtype: torch.dtype = torch.float32, sizes: tuple[int, ...] = (5000, 1, 3000)
) -> dict[str, dict[str, Tensor]]:
    """A base and two fine-tunes on a grid, so that magnitudes repeat, with zeros of both signs."""
    generator = torch.Generator().manual_seed(3)

    def draw(n: int, scale: float) -> Tensor:
        made = (torch.randn(n, generator=generator) * scale * 64).round() / 64
        return torch.where(torch.rand(n, generator=generator) < 0.1, -torch.zeros(n), made)

    base = {f"t{i}": draw(n, 1.0) for i, n in enumerate(sizes)}
    tuned = {m: {name: t + draw(len(t), 0.3) for name, t in base.items()} for m in "ab"}
    return {m: {name: t.to(dtype) for name, t in model.items()} for m, model in {"base": base, **tuned}.items()}


def carried_out(data: Mapping[str, Any], given: Mapping[str, Any], **options: Any) -> tuple[Table, Digests]:
    made = table(data, given, reader=options.pop("reader", MemoryReader), method=options.pop("method", None))
    bench = made.bench
    return made, execute(bench.plan, bench.readers, bench.writer, bench.method, seed=5, **options)


def both(data: Mapping[str, Any], given: Mapping[str, Any], **options: Any) -> None:
    """The device's tensors and hashes are those of the plain runner."""
    plain, expected = carried_out(data, given, runner="plain", allow_nonfinite=options.get("allow_nonfinite", False))
    made, found = carried_out(data, given, device=HERE, **options)
    assert_same(made.result, plain.result)
    assert found == expected


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was combined on the device: without it these tests might compare the processor with itself."""
    told: list[str] = []
    merge = offload.Errands.merge

    def noted(self: offload.Errands, step: Any, *args: Any, **options: Any) -> None:
        told.append(step.out.name)
        merge(self, step, *args, **options)

    monkeypatch.setattr(offload.Errands, "merge", noted)
    return told


# --- the same bytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str, dtype: torch.dtype, counted: list[str]) -> None:
    both(recipe(method, "base", "a", "b"), models(dtype), threads=2, tile=1024)
    assert set(counted) == {"t0", "t1", "t2"}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("tile", [1024, 4096, 1 << 22])
def test_any_tile_and_any_number_in_flight(tile: int, threads: int) -> None:
    both(recipe("ties", "base", "a", "b"), models(), threads=threads, tile=tile)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("method", ["ties", "dare_ties", "dare_linear"])
def test_switches(method: str, rescale: bool) -> None:
    data = recipe(method, "base", "a", "b")
    data["parameters"] |= {"rescale": rescale, "normalize": not rescale}
    both(data, models(), threads=2, tile=2048)


def test_mixed_dtypes_and_another_one_for_the_output() -> None:
    given = models()
    given["a"] = {name: t.bfloat16() for name, t in given["a"].items()}
    given["b"] = {name: t.half() for name, t in given["b"].items()}
    for dtype in ("bfloat16", "float16", "float64"):
        both(recipe("ties", "base", "a", "b", out_dtype=dtype), given, tile=1024)


def test_copies_and_integers_go_the_processors_way(counted: list[str]) -> None:
    given = models()
    for model in given.values():
        model |= {"n": torch.arange(3000), "empty": torch.empty(0, 3)}
    both(linear("a", "b"), given, tile=1024)
    assert "n" not in counted


def test_a_method_of_more_than_entries_goes_the_processors_way(counted: list[str]) -> None:
    chosen = methods.get("linear")
    wide = dataclasses.replace(chosen, spec=dataclasses.replace(chosen.spec, scope="matrix"))
    both(linear("a", "b"), models(), tile=1024, method=wide)
    assert counted == []


def test_tensors_that_are_no_row_of_memory() -> None:
    given = {m: {"w": t["t0"].reshape(50, 100).t()} for m, t in models().items()}
    both(recipe("slerp", "base", "a", "b"), given, tile=1024)


# --- numbers that are none


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["linear", "ties", "slerp"])
def test_an_input_that_is_no_number_is_refused_in_the_same_words(method: str, bad: float) -> None:
    given = models()
    given["a"]["t0"][4321] = bad
    told = []
    for options in ({"runner": "plain"}, {"device": HERE, "tile": 1024, "threads": 2}):
        with pytest.raises(InputError, match="entry 4321") as caught:
            carried_out(recipe(method, "base", "a", "b"), given, **options)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_an_output_that_is_too_large_is_refused_in_the_same_words() -> None:
    given = {m: {"w": torch.full((3000,), 60000.0).half()} for m in "ab"}
    data = linear("a", "b", weights=[1.0, 1.0], parameters={"normalize": False})
    told = []
    for options in ({"runner": "plain"}, {"device": HERE, "tile": 1024}):
        with pytest.raises(InputError, match="too large for float16") as caught:
            carried_out(data, given, **options)
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_are_none_may_pass(method: str) -> None:
    given = models()
    given["a"]["t0"][4321], given["b"]["t0"][17], given["base"]["t0"][2] = torch.nan, torch.inf, -torch.inf
    both(recipe(method, "base", "a", "b"), given, tile=1024, allow_nonfinite=True)


# --- memory


class Small:
    """Stands for a device with room for so many entries at a time: `combine` of a method that runs out above that."""

    def __init__(self, method: str, room: int) -> None:
        chosen = methods.get(method)
        self._combine, self._room, self.sizes, self._busy = chosen.combine, room, [], threading.Lock()
        self.method = dataclasses.replace(chosen, combine=self)

    def __call__(self, stack: Tensor, **settings: Any) -> Tensor:
        self.sizes.append(stack.shape[1])
        if stack.shape[1] > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self._combine(stack, **settings)


@pytest.mark.parametrize("threads", [1, 3])
def test_out_of_memory_takes_smaller_tiles(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "PROVED", 1024)  # the same `combine` is what the processor would use
    given = models(sizes=(150_000, 70_000))
    small = Small("ties", 40_000)
    plain, expected = carried_out(recipe("ties", "base", "a", "b"), given, runner="plain")
    made, found = carried_out(
        recipe("ties", "base", "a", "b"), given, method=small.method, device=HERE, threads=threads, tile=1 << 16
    )
    assert_same(made.result, plain.result)
    assert found == expected  # nothing was hashed twice
    assert max(small.sizes) > 40_000
    assert sum(size > 40_000 for size in small.sizes) <= threads + 2  # it learns


def test_what_has_no_memory_at_all_is_told_plainly() -> None:
    small = Small("linear", 100)
    with pytest.raises(ResourceError, match=r"no memory for [\d,]+ entries") as caught:
        carried_out(linear("a", "b"), models(sizes=(150_000,)), method=small.method, device=HERE, threads=3)
    assert caught.value.code == "memory"
    assert "--device cpu" in (caught.value.faults[0].hint or "")


def test_a_pass_that_runs_out_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "PROVED", 1024)  # the processor would run out too
    chosen = methods.get("slerp")
    sizes: list[int] = []

    def measure(job: Any, done: int, known: Any) -> Any:
        following = chosen.measure(job, done, known)
        if following is None:
            return None

        def observe(stack: Tensor, *rest: Any) -> Any:
            sizes.append(stack.shape[1])
            if stack.shape[1] > 10_000:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return following.observe(stack, *rest)

        return dataclasses.replace(following, observe=observe)

    given = models(sizes=(60_000,))
    plain, _ = carried_out(recipe("slerp", "base", "a", "b"), given, runner="plain")
    tight = dataclasses.replace(chosen, measure=measure)
    made, _ = carried_out(recipe("slerp", "base", "a", "b"), given, method=tight, device=HERE, threads=1, tile=1 << 20)
    assert_same(made.result, plain.result)
    assert max(sizes) == 60_000


def test_one_at_a_time_first_then_smaller() -> None:
    turns = Turns("cuda:0", 4)
    turns.ran_out(1 << 20, alone=False)
    assert turns.most is None
    with turns.one() as alone:
        assert alone
    turns.ran_out(1 << 20, alone=True)
    assert turns.most == 1 << 19
    turns.ran_out(1 << 16, alone=True)
    turns.ran_out(1 << 18, alone=True)
    assert turns.most == 1 << 15  # never larger again
    with pytest.raises(ResourceError):
        turns.ran_out(SMALLEST_TILE, alone=True)


def test_a_turn_that_fails_is_given_back() -> None:
    turns = Turns("cuda:0", 1)
    with pytest.raises(ValueError, match="x"), turns.one():
        raise ValueError("x")
    with turns.one() as alone:
        assert alone


# --- proof, errors, interrupts


def test_a_device_that_gives_other_bytes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out by the first tile, which is done again, and not asked any more."""
    asked: list[int] = []

    def fetch(self: Lane, values: Tensor, into: Tensor) -> None:
        wrong = values.dtype == torch.bfloat16
        into.copy_(values.nextafter(values + 1) if wrong else values)
        asked.append(len(into)) if wrong else None

    monkeypatch.setattr(Lane, "fetch", fetch)
    given = models(torch.bfloat16, sizes=(90_000, 80_000))
    plain, _ = carried_out(recipe("ties", "base", "a", "b"), given, runner="plain")
    with pytest.warns(RuntimeWarning, match="ties gives other bytes on cpu"):
        made, _ = carried_out(recipe("ties", "base", "a", "b"), given, device=HERE, threads=1)
    assert_same(made.result, plain.result)
    assert asked == [90_000]


def test_a_pass_that_finds_something_else_there_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes back from the device is a count too many; the pass is made again by the processor."""
    moved = offload.moved
    monkeypatch.setattr(offload, "moved", lambda value, to: too_many(moved(value, to)))

    def too_many(value: Any) -> Any:
        return Counts(value.values + 1) if isinstance(value, Counts) else value

    given = models(torch.bfloat16, sizes=(90_000, 80_000))
    plain, _ = carried_out(recipe("ties", "base", "a", "b"), given, runner="plain")
    with pytest.warns(RuntimeWarning, match="ties gives other bytes on cpu"):
        made, _ = carried_out(recipe("ties", "base", "a", "b"), given, device=HERE, threads=1)
    assert_same(made.result, plain.result)


def test_what_is_the_same_to_the_bit() -> None:
    zero, nan = torch.zeros(2), torch.full((2,), torch.nan)
    assert same(Blocks({0: nan, 1: zero}), Blocks({0: nan.clone(), 1: zero.clone()}))
    assert same([(1, None, "a")], [(1, None, "a")])
    for other in (-zero, zero.double(), zero[:1], None):
        assert not same(Counts(zero), Counts(other))
    assert not same(Blocks({0: zero}), Blocks({1: zero}))
    assert not same((1, 2), (1, 2, 3))
    assert not same(0.5, 0.25)
    assert not same(Counts(zero), Cut(zero))


def test_what_a_worker_raises_ends_the_run() -> None:
    class Broken(MemoryReader):
        def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        carried_out(linear("a", "b"), models(), device=HERE, threads=3, reader=Broken)
    assert not [t for t in threading.enumerate() if t.name.startswith("cuvee")]


def test_an_interrupt_ends_the_run_and_leaves_no_worker() -> None:
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried_out(linear("a", "b"), models(), device=HERE, threads=3, tile=1024, progress=stop)
    assert not [t for t in threading.enumerate() if t.name.startswith("cuvee")]


def test_buffers_are_taken_once() -> None:
    places: dict[str, set[int]] = {"a": set(), "b": set()}

    class Watching(MemoryReader):
        def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
            import ctypes

            places[self.label].add(ctypes.addressof(ctypes.c_char.from_buffer(into)))
            super().read_into(name, start, stop, into)

    carried_out(linear("a", "b"), models(sizes=(9000,)), device=HERE, threads=1, tile=1024, reader=Watching)
    assert {m: len(found) for m, found in places.items()} == {"a": 1, "b": 1}
