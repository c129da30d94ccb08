"""Opening files that somebody else may swap meanwhile: a pipe or device in a file's place is refused at once."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a plain file for reading.

    Between a look at a name and its opening, another file may take the name; opening a pipe would wait for ever.

    Raises:
        OSError: it cannot be opened, or is no plain file (`EINVAL`).
    """
    # O_NONBLOCK lets a pipe be opened at once, so that it can be looked at; plain files know nothing of it
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a pipe, a device or a folder, not a file", str(path))
    return os.fdopen(descriptor, "rb")
