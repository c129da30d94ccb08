"""What a member costs, measured by asking it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cuvee.errors import Fault, InputError, UsageError, integer_faults
from cuvee.predict.answers import raw
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.trained import Cost

if TYPE_CHECKING:
    from cuvee.predict.member import Member

_LEAST_CALLS: Final = 5
_MOST_CALLS: Final = 200
_TIME: Final = 0.2
"""Seconds spent on a member that is fast; a slow one is asked `_LEAST_CALLS` times all the same."""


def measure(
    member: Member, rows: Any, *, batch: int | None = None, clock: Callable[[], float] = time.perf_counter
) -> Member:
    """The member with its cost: the median of warm calls on a batch, its size on disk, what its memory came to.

    Time is the member's own, from what it reads to its raw answers. Memory is what the resident pages of this process
    grew by while the member was loaded and first asked, where it was loaded from disk: pages that were free already,
    and so taken again, are not in it. Of an object that was in memory it is `None`.

    Args:
        member: whom to ask.
        rows: rows that it can read.
        batch: rows in a call; all of them without it. They are taken from the start, again and again where there are
            fewer.
        clock: seconds, of a clock that only goes forward.

    Raises:
        UsageError: `batch` is no number of rows.
        InputError: there is no row that it can read; it fails.
    """
    asked = _batch(member, rows_of(rows), batch)
    before = resident()
    raw(member, asked)
    grown = None if member.loaded is None or before is None else member.loaded + max(0, (resident() or 0) - before)
    times: list[float] = []
    while len(times) < _LEAST_CALLS or (sum(times) < _TIME and len(times) < _MOST_CALLS):
        start = clock()
        raw(member, asked)
        times.append(clock() - start)
    cost = Cost(
        us_per_row=median(times) / len(asked) * 1e6,
        batch=len(asked),
        nbytes=stored_bytes(member.thing),
        memory=grown,
        threads=_threads(member),
        processor=processor(),
    )
    return replace(member, cost=cost)


def _batch(member: Member, rows: Rows, batch: int | None) -> Rows:
    if batch is not None and (wrong := integer_faults("batch", batch, least=1)):
        raise UsageError(wrong)
    there = np.flatnonzero(rows.present(member.reads, whole=member.whole))
    if not len(there):
        message = f"to measure the member {member.name!r}, rows are needed that it can read; found none"
        raise InputError(Fault("too-few-rows", message, subject=member.name))
    taken = np.resize(there, batch or len(there))
    return Rows(rows.take(taken).data, rows.form, tuple(map(str, range(len(taken)))))


def stored_bytes(thing: Any) -> int | None:
    """Bytes of a file, or of all files in a folder; `None` of what lies nowhere."""
    if not isinstance(thing, Path):
        return None
    files = [thing] if thing.is_file() else [path for path in thing.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def resident() -> int | None:
    """Bytes of memory that this process has pages for, by `/proc`; `None` where the system has no such file."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _threads(member: Member) -> int:
    """Threads that it may use: what its settings say, torch's of a torch model, or else those that this process may."""
    if isinstance(own := member.settings.get("threads"), int):
        return own
    torch = sys.modules.get("torch")
    if torch is not None and member.kind in ("transformers", "causal", "recipe"):
        return int(torch.get_num_threads())
    if member.kind != "onnx" and (told := os.environ.get("OMP_NUM_THREADS", "")).isdigit():  # ONNX's own does not look
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
