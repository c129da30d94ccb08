"""How far the demo is: progress told from any thread, and seconds by stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its steps are done, and how many it has; from any thread, one at a time."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Tells `progress` of every step and keeps the `seconds` each stage took."""

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A stage of `total` steps; yields what to call after each, from any thread."""
        done, start = 0, time.perf_counter()

        def step() -> None:
            nonlocal done
            with self._lock:
                done += 1
                self._tell(name, done, total)

        self._tell(name, 0, total)
        yield step
        self.seconds[name] = round(time.perf_counter() - start, 2)

    @contextmanager
    def follow(self, name: str) -> Iterator[Callable[[int, int, str], None]]:
        """A stage that counts its own steps: yields what to tell how many are done, and of how many."""
        start = time.perf_counter()

        def told(done: int, total: int, _text: str = "") -> None:
            with self._lock:
                self._tell(name, done, max(done, total))

        yield told
        self.seconds[name] = round(time.perf_counter() - start, 2)

    def _tell(self, name: str, done: int, total: int) -> None:
        """Pass the news on, if anybody listens."""
        if self.progress is not None:
            self.progress(name, done, total)
