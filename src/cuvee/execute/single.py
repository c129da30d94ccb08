"""torch's own threads, which are of no use to workers that take a tile each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import torch


class _Single:
    """torch's own threads are set to one while any merge of this process runs, and put back after the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._merges = 0
        self._before = 1

    def enter(self) -> None:
        """A merge begins; each of its workers still sets its own number."""
        with self._lock:
            if self._merges == 0:
                self._before = torch.get_num_threads()
            self._merges += 1

    def leave(self) -> None:
        """A merge is over."""
        with self._lock:
            self._merges -= 1
            if self._merges == 0:
                torch.set_num_threads(self._before)


SINGLE: Final = _Single()
"""Of this process."""


@contextmanager
def single_threads(workers: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Workers of which each has one thread of torch.

    Args:
        workers: how many, at least 1.
        name: what their threads are called.
    """
    SINGLE.enter()
    try:
        with ThreadPoolExecutor(workers, name, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # leaving the block waits for what is under way
                raise
    finally:
        SINGLE.leave()
