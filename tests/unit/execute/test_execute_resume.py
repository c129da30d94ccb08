"""What is taken over from a journal, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from cuvee.checkpoint import MemoryReader
from cuvee.checkpoint.digest import CHUNK, digest_cuts
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.journal import Entry
from cuvee.errors import InputError
from cuvee.execute import execute
from cuvee.execute.resume import NOTHING, Finished, take_over
from tests.support.benches import Table, table
from tests.support.merging import linear

Range = tuple[int, int]


def entry(start: int, stop: int, tensor: str = "w", read: tuple[bytes, ...] = (b"", b"")) -> Entry:
    return Entry(tensor, start, stop, b"", read)


@pytest.mark.parametrize(
    ("finished", "ranges", "left"),
    [
        ([], [(0, 9)], [(0, 9)]),
        ([(0, 9)], [(0, 9)], []),
        ([(0, 4)], [(0, 9)], [(4, 9)]),
        ([(4, 9)], [(0, 9)], [(0, 4)]),
        ([(2, 3), (5, 7)], [(0, 9)], [(0, 2), (3, 5), (7, 9)]),
        ([(2, 3), (3, 4)], [(0, 3), (3, 6)], [(0, 2), (4, 6)]),
        ([(0, 9)], [(0, 3), (3, 12)], [(9, 12)]),
        ([(6, 9)], [(0, 3), (3, 6)], [(0, 3), (3, 6)]),
    ],
)
def test_what_is_left_of_some_ranges(finished: list[Range], ranges: list[Range], left: list[Range]) -> None:
    found = Finished({"w": [entry(*one) for one in finished]})
    assert found.left("w", ranges) == left
    assert found.left("v", ranges) == ranges
    assert found.elements("w") == sum(stop - start for start, stop in finished)
    assert NOTHING.left("w", ranges) == ranges


@dataclass
class Kept:
    """A keeper of a journal in memory."""

    past: Sequence[Entry]
    wrong: frozenset[Entry] = frozenset()
    touched: frozenset[str] = frozenset()
    kept: bool = True
    taken: list[Entry] = field(default_factory=list)
    noted: list[Entry] = field(default_factory=list)

    def holds(self, entry: Entry) -> bool:
        return entry not in self.wrong

    def take_over(self, entry: Entry) -> None:
        self.taken.append(entry)

    def note(self, entry: Entry) -> None:
        self.noted.append(entry)


def made(numel: int = 5000, **options: Any) -> Table:
    models = {
        name: {"w": torch.randn(numel, generator=torch.Generator().manual_seed(i))} for i, name in enumerate("ab")
    }
    return table(linear("a", "b"), models, **options)


def test_only_whole_blocks_of_known_tensors_are_taken_over() -> None:
    good = [entry(0, 1024), entry(4096, 5000)]
    odd = [
        entry(1024, 2047),
        entry(1025, 2048),
        entry(4096, 6144),
        entry(2048, 2048),
        entry(-1024, 1024),
        entry(1024, 2048, tensor="v"),
        entry(1024, 2048, read=()),
    ]
    keeper = Kept([*odd, *good])
    bench = made().bench
    assert take_over(bench.plan, bench.readers, keeper).entries == {"w": good}
    assert keeper.taken == good


def test_of_two_that_overlap_the_one_that_stands_there_is_taken() -> None:
    whole, part = entry(0, 2048), entry(1024, 2048)
    bench = made().bench
    assert take_over(bench.plan, bench.readers, Kept([whole, part])).entries == {"w": [whole]}
    assert take_over(bench.plan, bench.readers, Kept([whole, part], frozenset([whole]))).entries == {"w": [part]}


@pytest.mark.parametrize("runner", ["plain", "threaded"])
def test_every_range_is_noted_once_with_what_it_was_made_from(runner: Any) -> None:
    found = made()
    keeper = Kept([])
    bench = found.bench
    execute(bench.plan, bench.readers, bench.writer, bench.method, tile=2048, runner=runner, journal=keeper)

    def digests(values: torch.Tensor, one: Entry) -> bytes:
        piece = values[one.start : one.stop].clone()  # named: its bytes are looked at and not kept alive
        return digest_cuts(one.start, tensor_bytes(piece), 4)

    inputs = [reader.read("w", 0, 5000) for reader in bench.readers]
    for one in keeper.noted:
        assert one.written == digests(found.result["w"], one)
        assert one.read == tuple(digests(values, one) for values in inputs)
    ends = sorted((one.start, one.stop) for one in keeper.noted)
    assert ends == ([(0, 5000)] if runner == "plain" else [(0, 2048), (2048, 4096), (4096, 5000)])


def test_fingerprints_of_what_is_finished_come_from_the_journal() -> None:
    class Unread(MemoryReader):
        def read(self, name: str, start: int, stop: int) -> torch.Tensor:
            raise AssertionError(f"{name} was read")

        def digest(self, name: str) -> str:
            raise AssertionError(f"{name} was read")

    first, keeper = made(2 * CHUNK + 5).bench, Kept([])
    expected = execute(first.plan, first.readers, first.writer, first.method, tile=CHUNK, journal=keeper)
    then = made(2 * CHUNK + 5, reader=Unread).bench
    found = execute(then.plan, then.readers, then.writer, then.method, journal=Kept(keeper.noted))
    assert (found.inputs, found.outputs) == (expected.inputs, expected.outputs)
    assert (found.resumed_ranges, found.resumed_bytes) == (3, 4 * (2 * CHUNK + 5))


@pytest.mark.parametrize("runner", ["plain", "threaded"])
def test_only_what_is_left_is_written(runner: Any) -> None:
    bench = made().bench
    keeper = Kept([entry(1024, 3072)])
    execute(bench.plan, bench.readers, bench.writer, bench.method, tile=2048, runner=runner, journal=keeper)
    ends = sorted((one.start, one.stop) for one in keeper.noted)
    assert ends == [(0, 1024), *([(3072, 5000)] if runner == "plain" else [(3072, 4096), (4096, 5000)])]


def test_a_range_as_long_as_a_tensor_is_compared_in_parts() -> None:
    asked: list[int] = []

    class Touched(MemoryReader):
        @property
        def input_files(self) -> tuple[InputFile, ...]:
            return (InputFile("file", {}, {}, frozenset(["w"])),)

        def read(self, name: str, start: int, stop: int) -> torch.Tensor:
            asked.append(stop - start)
            return super().read(name, start, stop)

    numel = 3 * CHUNK + 5
    bench, keeper = made(numel).bench, Kept([])
    execute(bench.plan, bench.readers, bench.writer, bench.method, runner="plain", journal=keeper)
    bench = made(numel, reader=Touched).bench
    keeper = Kept(keeper.noted, touched=frozenset(["file"]))
    assert take_over(bench.plan, bench.readers, keeper).entries == {"w": list(keeper.past)}
    assert sum(asked) == 2 * numel
    assert max(asked) == CHUNK
    first, second = keeper.past[0].read
    wrong = [entry(0, numel, read=(first, second[:-1] + b"x"))]
    with pytest.raises(InputError, match="has changed since"):
        take_over(bench.plan, bench.readers, Kept(wrong, touched=keeper.touched))
