"""Whether a file is still the one whose header was read."""

from __future__ import annotations

import os
from pathlib import Path

from cuvee.errors import Fault, InputError

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in nanoseconds."""


def identity_of(status: os.stat_result) -> Identity:
    """What tells a file from another, and from itself after a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def changed(path: Path, action: str) -> Fault:
    """A file that is not what it was."""
    message = f"{path} has changed {action}"
    return Fault("io-error", message, subject=str(path), hint="let nothing write to it, and run again")


def check_unchanged(path: Path, before: Identity) -> None:
    """Refuse what was read of a file that something has written to meanwhile.

    A file that was removed or replaced is another one of the same name: what was open stays what it was.

    Raises:
        InputError: `io-error`: it changed.
    """
    try:
        now = identity_of(path.stat())
    except OSError:
        return
    if now[:2] == before[:2] and now != before:
        raise InputError(changed(path, "while it was read"))
