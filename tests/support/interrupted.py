"""Merges that are stopped on their way and gone on with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import cuvee
from cuvee.checkpoint import FolderWriter
from cuvee.checkpoint.staging import find_places
from tests.support.forks import Forks


class Stopped(KeyboardInterrupt):
    """The interrupt that a test makes."""


@contextmanager
def stopping_after(writes: int) -> Iterator[None]:
    """The next merge is interrupted before it writes one more range than that."""
    count = 0
    write = FolderWriter.write

    def counted(writer: FolderWriter, name: str, start: int, values: Tensor) -> None:
        nonlocal count
        count += 1
        if count > writes:
            raise Stopped
        write(writer, name, start, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderWriter, "write", counted)
        yield


def stop(asked: Any, out: Path, writes: int, **options: Any) -> None:
    """A merge with `resume` that is interrupted, and leaves what is finished."""
    with stopping_after(writes), pytest.raises(KeyboardInterrupt, match="--resume"):
        cuvee.merge(asked, out, resume=True, **{"threads": 1, **options})
    assert lines(out) > min(writes, 1)


def lines(out: Path) -> int:
    """Whole lines of an output's journal."""
    journal = find_places(out).journal()
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def merge_on(asked: str, out: str, options: dict[str, Any]) -> int:
    """What a forked child does."""
    cuvee.merge(asked, out, **{"resume": True, **options})
    return 0


def kill_after(forked: Forks, asked: Path, out: Path, more: int, seconds: float, options: dict[str, Any]) -> int:
    """Start a merge and kill it so long after so many more lines are in the journal; gives how it ended."""
    before = lines(out)
    number = forked.start(merge_on, asked, out, options)
    deadline = time.monotonic() + 60
    while lines(out) < before + more and not out.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    return forked.wait(number)
