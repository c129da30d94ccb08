"""The block cache: right bytes for any reader, few requests, bounded memory, and no failure kept."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvee.checkpoint.blocks import BlockCache
from cuvee.checkpoint.retrying import WAITS, persist
from cuvee.checkpoint.wire import WireError

FILES = {name: bytes((i * 7 + shift) % 251 for i in range(1000)) for shift, name in enumerate("abc")}


class Source:
    """Files in memory that count what is asked of them."""

    def __init__(self, wait: float = 0.0) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.wait = wait
        self.broken = False
        self._lock = threading.Lock()

    def fetch(self, file: str, begin: int, end: int) -> bytes:
        with self._lock:
            self.asked.append((file, begin, end))
        time.sleep(self.wait)
        if self.broken:
            raise OSError("down")
        return FILES[file][begin:end]


def read(cache: BlockCache, file: str, at: int, count: int) -> bytes:
    into = bytearray(count)
    cache.read_into(file, 1000, at, memoryview(into))
    return bytes(into)


@given(
    wanted=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1000), st.integers(0, 1000)), max_size=12),
    block=st.integers(1, 1200),
    kept=st.integers(2, 5),
)
def test_any_reads_give_the_files_bytes(wanted: list[tuple[str, int, int]], block: int, kept: int) -> None:
    cache = BlockCache(Source().fetch, block=max(block, 25), kept=kept)
    for file, one, other in wanted:
        begin, end = sorted((one, other))
        assert read(cache, file, begin, end - begin) == FILES[file][begin:end]
    cache.close()


def test_readers_in_order_ask_once_for_each_block_and_one_ahead() -> None:
    source = Source()
    cache = BlockCache(source.fetch, block=100, kept=4)
    assert read(cache, "a", 0, 10) == FILES["a"][:10]
    assert read(cache, "a", 10, 10) == FILES["a"][10:20]
    while len(source.asked) < 2:  # the one ahead is fetched by a thread of its own
        time.sleep(0.001)
    assert sorted(source.asked) == [("a", 0, 100), ("a", 100, 200)]
    for at in range(20, 1000, 20):
        assert read(cache, "a", at, 20) == FILES["a"][at : at + 20]
    assert sorted(source.asked) == [("a", at, at + 100) for at in range(0, 1000, 100)]
    cache.close()


def test_a_reader_here_and_there_asks_for_no_more_than_it_needs() -> None:
    source = Source()
    cache = BlockCache(source.fetch, block=100, kept=4)
    for at in (910, 550, 250):
        read(cache, "b", at, 20)
    assert sorted(source.asked) == [("b", 200, 300), ("b", 500, 600), ("b", 900, 1000)]
    cache.close()


def test_no_more_is_kept_than_was_said() -> None:
    source = Source()
    cache = BlockCache(source.fetch, block=50, kept=3)
    for at in range(0, 1000, 10):
        for file in "abc":
            read(cache, file, at, 10)
            assert len(cache._blocks) <= 3
    cache.close()
    assert not cache._blocks


def test_many_threads_share_what_one_has_asked_for() -> None:
    source = Source(wait=0.01)
    cache = BlockCache(source.fetch, block=500, kept=4)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: read(cache, "c", at, 20), range(0, 1000, 20)))
    assert b"".join(found) == FILES["c"]
    assert sorted(source.asked) == [("c", 0, 500), ("c", 500, 1000)]
    cache.close()


def test_a_failure_is_told_and_not_kept() -> None:
    source = Source()
    source.broken = True
    cache = BlockCache(source.fetch, block=1000, kept=2)
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            read(cache, "a", 0, 10)
    source.broken = False
    assert read(cache, "a", 0, 10) == FILES["a"][:10]
    assert len(source.asked) == 3
    cache.close()


def test_waits_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def ask() -> None:
        raise WireError("transient", "down")

    with pytest.raises(WireError, match="down"):
        persist(ask)
    assert slept == WAITS == sorted(WAITS)
    assert 5 < sum(WAITS) < 10

    def refuse() -> None:
        raise WireError("denied", "no")

    with pytest.raises(WireError):
        persist(refuse)
    assert slept == WAITS
