"""One file that appears complete or not at all.

Where the file system can do that, the file has no name before all of it is on the disk: what a killed run has written
is gone with it. Elsewhere it is written under a hidden name beside its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.staging import sync_folder
from cuvee.errors import Fault, OutputExists

_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_single(path: Path, pieces: Iterable[memoryview | bytes], *, overwrite: bool) -> None:
    """Write a file, make it durable, and give it its name.

    Args:
        path: the file to make; folders above it are made too.
        pieces: its bytes, asked for one after the other.
        overwrite: whether what has the name already may lose it.

    Raises:
        OutputExists: something has the name, and `overwrite` was not given; also when it came meanwhile.
        ResourceError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.cuvee-{os.getpid()}")
    with told("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(path, beside, pieces, overwrite)
        except FileExistsError:
            raise exists(path) from None
        finally:
            with suppress(FileNotFoundError):
                beside.unlink()
        sync_folder(path.parent)


def exists(path: Path) -> OutputExists:
    """The refusal of a name that is taken."""
    hint = "choose another name, or say --overwrite"
    return OutputExists(Fault("output-exists", f"{path} is there already", subject=str(path), hint=hint))


def _write(path: Path, beside: Path, pieces: Iterable[memoryview | bytes], overwrite: bool) -> None:
    descriptor, named = _opened(path.parent, beside)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        if not named:
            _give_name(file.fileno(), beside if overwrite else path)
    if overwrite:
        beside.replace(path)
    elif named:
        _rename_to_free(beside, path)


def _opened(folder: Path, beside: Path) -> tuple[int, bool]:
    """A file to write into, and whether it has a name."""
    with suppress(OSError, AttributeError):
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666), False
    return os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o666), True


def _give_name(descriptor: int, path: Path) -> None:
    """Link an open file that has no name."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:  # given a folder's descriptor, Python asks for the link to be followed to the open file
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _rename_to_free(beside: Path, path: Path) -> None:
    """Rename, unless the name is taken: a plain rename would replace what has it."""
    try:
        os.link(beside, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists() or path.is_symlink():
            raise FileExistsError(path) from None
        beside.replace(path)
