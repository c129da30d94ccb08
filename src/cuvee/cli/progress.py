"""How far a command is: a bar on a terminal, a plain line about every ten seconds elsewhere. On standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from cuvee.checkpoint.layout import format_size
from cuvee.cli.console import console_for, is_live, printable, tell, unfailing
from cuvee.cli.words import counted, duration

EVERY: Final = 10.0
"""Seconds between plain lines."""

_BAR: Final = 10
_DETAIL: Final = 19
"""Columns for the bar and for what it is at: with amounts, speed and time left they make 80."""

Unit = Literal["bytes", "tensor", "step", "sample", "row", "trial", "set"]


class Meter(Protocol):
    """Told how much is done, of how much, and what it is at; from any thread."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Take note."""


@contextmanager
def metered(doing: str, unit: Unit) -> Iterator[Meter]:
    """Show how far something is while the block runs; the last line is left out when the block fails."""
    if is_live(sys.stderr):
        with _bar(doing, unit) as meter:
            yield meter
        return
    lines = Lines(doing, unit, tell)
    yield lines
    lines.end()


def amount(done: int, total: int, unit: Unit) -> str:
    """How much of how much.

    Example:
        >>> amount(1_500_000, 3_000_000, "bytes"), amount(3, 39, "tensor")
        ('1.5 of 3.0 MB', '3 of 39 tensors')
    """
    if unit == "bytes":
        done_text, total_text = format_size(done), format_size(total)
        same_unit = done_text.split()[1] == total_text.split()[1]
        return f"{done_text.split()[0] if same_unit else done_text} of {total_text}"
    return f"{done:,} of {counted(total, unit)}"


def speed(rate: float, unit: Unit) -> str:
    """Bytes per second; empty for other units, whose steps are not of one size."""
    return f"{format_size(round(rate))}/s" if unit == "bytes" and rate > 0 else ""


@dataclass
class Lines:
    """Plain lines: one when ten seconds have passed since the last, and one at the end."""

    doing: str
    unit: Unit
    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _done: int = 0
    _first: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        self._start = self._said = self.clock()

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Take note, and say so if it is time."""
        with self._lock:
            self._done = done
            now = self.clock()
            self._first = self._first or (now, done)
            if now - self._said < EVERY or done >= total:
                return
            self._said = now
            rate = self._rate(now)
            left = f"{duration((total - done) / rate)} left" if rate else ""
            share = f"{100 * done // total} %" if total else ""
            self._say(share, amount(done, total, self.unit), speed(rate, self.unit), left, detail)

    def _rate(self, now: float) -> float:
        """How much is done in a second, counted from the first news on: what comes before is opening and planning."""
        then, before = self._first or (now, 0)
        return (self._done - before) / (now - then) if now > then else 0.0

    def _say(self, *parts: str) -> None:
        self.write(f"{self.doing}: {', '.join(part for part in parts if part)}")

    def end(self) -> None:
        """Say that it is over, if anything was ever done."""
        if self._first is None:
            return
        now = self.clock()
        what = format_size(self._done) if self.unit == "bytes" else counted(self._done, self.unit)
        self._say("done", f"{what} in {duration(now - self._start)}")


class _Amount(ProgressColumn):
    """Done and total, speed, and time left."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """The column's text."""
        if task.total is None:  # nothing is known yet
            return Text("")
        parts = [amount(round(task.completed), round(task.total), self._unit)]
        parts += [fast] if (fast := speed(task.speed or 0.0, self._unit)) else []
        if task.time_remaining is not None:
            parts.append(f"{duration(task.time_remaining)} left")
        return Text("  ".join(parts))


def _end_of(name: str) -> str:
    """The end of a long name, which says more than its start."""
    return name if len(name) <= _DETAIL else f"…{name[1 - _DETAIL :]}"


class _Bar(Progress):
    """A bar that asks for the latest news whenever it is drawn, at most ten times a second, and at its end.

    News may come with every tile, from many threads: taking note of it is one assignment, which is atomic.
    """

    latest: tuple[int, int, str] | None = None

    def start_on(self, doing: str) -> None:
        """Say what is being done."""
        self._job = self.add_task(doing, total=None, detail="")

    def note(self, done: int, total: int, detail: str = "") -> None:
        """Take note, to be drawn when it is time."""
        self.latest = (done, total, detail)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What rich draws."""
        if self.latest is not None:
            done, total, detail = self.latest
            self.update(self._job, completed=done, total=total, detail=_end_of(printable(detail)))
        yield from super().get_renderables()


@contextmanager
def _bar(doing: str, unit: Unit) -> Iterator[Meter]:
    """A bar that goes away when it is over."""
    detail = TextColumn(
        "{task.fields[detail]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    columns = (TextColumn("{task.description}"), BarColumn(_BAR), _Amount(unit), detail)
    with _Bar(*columns, console=console_for(sys.stderr, unfailing(sys.stderr)), transient=True, expand=True) as bar:
        bar.start_on(doing)
        yield bar.note
