"""Whether a file is still the one whose header was read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cuvee.errors import Fault, InputError

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that tensors are read from, as it was when it was opened.

    Attributes:
        name: its path or address, for messages.
        fixed: facts that only a file with the same content has: size and time of the last change, or a version.
        loose: facts that also change when a file is renamed, linked, or given other rights, and that change whenever
            something is written to it, even if its time is put back. Where they differ, the content must be looked at.
        tensors: names of the tensors in it.
    """

    name: str
    fixed: Mapping[str, int | str]
    loose: Mapping[str, int | str]
    tensors: frozenset[str]


def input_file(path: Path, status: os.stat_result, tensors: frozenset[str]) -> InputFile:
    """A file of this machine with its status."""
    fixed = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    loose = {"device": status.st_dev, "inode": status.st_ino, "ctime_ns": status.st_ctime_ns}
    return InputFile(str(path), fixed, loose, tensors)


def identity_of(status: os.stat_result) -> Identity:
    """What tells a file from another, and from itself after a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def changed(path: Path | str, action: str) -> Fault:
    """A file that is not what it was."""
    message = f"{path} has changed {action}"
    return Fault("io-error", message, subject=str(path), hint="let nothing write to it, and run again")


def check_unchanged(path: Path, before: Identity, descriptor: int | None = None) -> None:
    """Refuse what was read of a file that something has written to meanwhile.

    A file that was removed or replaced is another one of the same name: what was open stays what it was.

    Args:
        path: where it lies.
        before: what it was when its header was read.
        descriptor: it, still open: then a file that was written to and replaced afterwards is found too.

    Raises:
        InputError: `io-error`: it changed.
    """
    try:
        now = identity_of(path.stat() if descriptor is None else os.fstat(descriptor))
    except OSError:
        return
    if now[:2] == before[:2] and now != before:
        raise InputError(changed(path, "while it was read"))


def was_touched(file: InputFile) -> bool:
    """Whether the status of a file of this machine changed, its size and time aside: it may have been written to.

    A file that is gone or replaced was not touched: what was open of it stays what it was.
    """
    try:
        now = Path(file.name).stat()
    except OSError:
        return False
    same = (now.st_dev, now.st_ino) == (file.loose.get("device"), file.loose.get("inode"))
    return same and now.st_ctime_ns != file.loose.get("ctime_ns")
