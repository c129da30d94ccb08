"""What is finished of an output that is being written, so that the next run need not do it again.

A journal is a text file of one JSON object per line. The first says what is done: the job. Each other one names a
range of a tensor that stands in its place, with the fingerprints of its bytes and of the bytes it was made from. Every
line carries its own checksum and is added by one call of the system after the bytes were written. Nothing need be
durable meanwhile: a line is a claim, and the bytes are read back before it is believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import xxhash

from cuvee.checkpoint.os_errors import HINTS, told
from cuvee.errors import Fault, ResourceError

FORMAT: Final = 1
"""Number of the journal's form; another one is not read."""

_CHECK: Final = b',"check":"'
_MODE: Final = 0o666


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished range of an output tensor.

    Attributes:
        tensor: its name.
        start: first element.
        stop: the element after the last.
        written: `digest_cuts` of its bytes.
        read: for each input of the tensor in the plan's order, `digest_cuts` of the same range; empty if not known.
    """

    tensor: str
    start: int
    stop: int
    written: bytes
    read: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What a journal says.

    Attributes:
        job: what the run that wrote it was to do.
        entries: the finished ranges, in the order in which they were noted.
        length: bytes of whole lines; what follows was cut off.
    """

    job: Mapping[str, Any]
    entries: tuple[Entry, ...]
    length: int


class Journal:
    """A journal open for adding lines; safe from any thread, for one process.

    Args:
        path: the file, not there yet.
        job: what is done.

    Raises:
        ResourceError: it cannot be written.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self._path = path
        self._descriptor = _open(path, os.O_CREAT | os.O_EXCL)
        self._add({"format": FORMAT, "job": job})

    @classmethod
    def again(cls, path: Path, length: int) -> Journal:
        """Open one that is there, less what follows its last whole line."""
        journal = cls.__new__(cls)
        journal._path = path
        journal._descriptor = _open(path, 0)
        try:
            with told("write the journal", path):
                if os.fstat(journal._descriptor).st_size != length:
                    os.ftruncate(journal._descriptor, length)
        except BaseException:
            journal.close()
            raise
        return journal

    def add(self, entry: Entry) -> None:
        """Note a range that has been written."""
        self._add(
            {
                "tensor": entry.tensor,
                "range": [entry.start, entry.stop],
                "written": entry.written.hex(),
                "read": [digests.hex() for digests in entry.read],
            }
        )

    def close(self) -> None:
        """Let go of the file, which stays."""
        os.close(self._descriptor)

    def _add(self, data: Mapping[str, Any]) -> None:
        line = _line(data)
        with told("write the journal", self._path):
            if os.write(self._descriptor, line) < len(line):  # it stays behind as a line that does not check
                raise ResourceError(Fault("disk-full", _cut_off(self._path), None, str(self._path), HINTS["disk-full"]))


def _cut_off(path: Path) -> str:
    return f"could not write the journal {path}: no space left"


def _open(path: Path, more: int) -> int:
    with told("write the journal", path):
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | more, _MODE)


def _line(data: Mapping[str, Any]) -> bytes:
    """One line with its checksum as the last key."""
    body = json.dumps(data, separators=(",", ":")).encode("ascii")[:-1]
    return body + _CHECK + xxhash.xxh3_64_hexdigest(body).encode("ascii") + b'"}\n'


def _parsed(line: bytes) -> Any:
    """What a line says; `None` for one that is not as it was written."""
    body, found, check = line.rpartition(_CHECK)
    if not found or check != xxhash.xxh3_64_hexdigest(body).encode("ascii") + b'"}':
        return None
    return json.loads(body + b"}")


def read_journal(path: Path) -> Past | None:
    """Read a journal; a line that is damaged or cut off says nothing, and its range will be done again.

    Returns:
        What it says; `None` where there is none, or only the beginning of its first line.

    Raises:
        ResourceError: `resume-mismatch`: its first line cannot be read; or the file cannot be.
    """
    try:
        with told("read the journal", path):
            data = path.read_bytes()
    except ResourceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    first, *lines = data.split(b"\n")
    if not lines:
        return None
    head = _parsed(first)
    if not isinstance(head, Mapping) or head.get("format") != FORMAT:
        raise ResourceError(_unreadable(path))
    return Past(head["job"], tuple(_entries(lines[:-1])), len(data) - len(lines[-1]))


class Tail:
    """A journal that another process is writing, read as it grows; for telling how far that is.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def news(self) -> Iterator[Entry]:
        """The ranges that were noted since this was last asked for; none where it cannot be read."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        first = self._at == 0
        self._at += whole
        yield from _entries(data[:whole].split(b"\n")[int(first) : -1])


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    return (_entry(found) for line in lines if (found := _parsed(line)) is not None)


def _entry(data: Mapping[str, Any]) -> Entry:
    start, stop = data["range"]
    read = tuple(bytes.fromhex(digests) for digests in data["read"])
    return Entry(data["tensor"], start, stop, bytes.fromhex(data["written"]), read)


def _unreadable(path: Path) -> Fault:
    message = f"the journal {path} is damaged, or another version of Cuvee wrote it"
    return Fault("resume-mismatch", message, None, str(path), AFRESH)


AFRESH: Final = "run without --resume to begin again"
"""What to do where a run cannot be gone on with."""


def disjoint(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries without those that overlap an earlier one of their tensor: two workers may have done the same."""
    reached: tuple[str, int] = ("", 0)
    for entry in sorted(entries, key=lambda e: (e.tensor, e.start, -e.stop)):
        if entry.tensor != reached[0] or entry.start >= reached[1]:
            reached = entry.tensor, entry.stop
            yield entry
