"""What the operating system says, in Cuvee's own errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cuvee.errors import Fault, ResourceError

CODES: Final = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EFBIG: "file-too-large",
    errno.EACCES: "not-writable",
    errno.EPERM: "not-writable",
    errno.EROFS: "not-writable",
    errno.ENOMEM: "memory",
}
HINTS: Final = {
    "disk-full": "free some space, or write to another disk",
    "file-too-large": "write smaller shards, or raise the limit (`ulimit -f`)",
    "not-writable": "choose a folder you may write to",
    "io-error": "look at the path, and at the disk it is on",
    "memory": "close other programs, or use a machine with more memory",
}
"""What to do next, by reason code."""
_MANY_FILES_HINT: Final = "write larger shards, or raise the limit (`ulimit -n`)"


def resource_error(error: OSError, doing: str, path: Path | str) -> ResourceError:
    """An error of the operating system, with what was being done to which file and what to do next."""
    code = CODES.get(error.errno or 0, "io-error")
    hint = _MANY_FILES_HINT if error.errno == errno.EMFILE else HINTS.get(code)
    return ResourceError(Fault(code, f"could not {doing} {path}: {error.strerror or error}", None, str(path), hint))


@contextmanager
def told(doing: str, path: Path | str) -> Iterator[None]:
    """Raise what goes wrong inside as a `ResourceError`; `doing` completes "could not … `path`"."""
    try:
        yield
    except OSError as error:
        raise resource_error(error, doing, path) from error
