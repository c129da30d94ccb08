"""A few blocks of remote files kept in memory, so that neighbouring tiles cost one request and not one each.

The engine asks for tiles of half a megabyte to a megabyte; over a network a request costs as much as the transfer of
some megabytes. Blocks are fetched by threads of their own, one ahead of whoever reads in order.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

BLOCK: Final = 8 << 20
"""Bytes fetched at a time."""

KEPT: Final = 6
"""Blocks kept per model: at most 48 MiB, and a block more for each worker that is still reading one let go."""

_FETCHERS: Final = 4
"""Requests under way at a time per model."""

KEPT_BYTES: Final = (KEPT + _FETCHERS) * BLOCK
"""Bytes that one model takes at most, with those blocks that are let go while they are fetched or read."""

Key = tuple[str, int]
"""A file and the number of a block in it."""


class BlockCache:
    """The blocks of one model's files that were used last; safe from any thread.

    Args:
        fetch: gives the bytes `begin` to `end` of a file.
        block: bytes of a block.
        kept: blocks kept, at least 2.
    """

    def __init__(self, fetch: Callable[[str, int, int], bytes], *, block: int = BLOCK, kept: int = KEPT) -> None:
        self._fetch = fetch
        self._block = block
        self._kept = kept
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Key, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="cuvee-remote")

    def read_into(self, file: str, size: int, at: int, into: memoryview) -> None:
        """Fill a buffer with the bytes of a file from offset `at` on.

        Args:
            file: which file.
            size: bytes of the whole file.
            at: offset in it.
            into: writable bytes, all of which the file has.

        Raises:
            InputError: a block could not be fetched.
        """
        while into:
            number, skip = divmod(at, self._block)
            block = memoryview(self._get(file, number, size).result())
            count = min(len(into), len(block) - skip)
            into[:count] = block[skip : skip + count]
            into, at = into[count:], at + count

    def close(self) -> None:
        """Let go of the blocks; requests that were not begun are given up."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()

    def _get(self, file: str, number: int, size: int) -> Future[bytes]:
        """A block that is here or under way; the one after it is fetched where somebody reads in order."""
        with self._lock:
            in_order = number == 0 or (file, number - 1) in self._blocks
            found = self._ask(file, number, size)
            if in_order and (number + 1) * self._block < size:
                self._ask(file, number + 1, size)
                self._blocks.move_to_end((file, number))  # what is read now must not go before what is read later
            while len(self._blocks) > self._kept:
                self._blocks.popitem(last=False)
            return found

    def _ask(self, file: str, number: int, size: int) -> Future[bytes]:
        key = (file, number)
        found = self._blocks.pop(key, None)
        if found is None or (found.done() and found.exception() is not None):  # a failure is not kept
            begin = number * self._block
            found = self._pool.submit(self._fetch, file, begin, min(begin + self._block, size))
        self._blocks[key] = found
        return found
