"""Ranges of a file read into memory of our own, whole or not at all.

Reading with calls, and not through a map, turns a file that is cut short meanwhile into an error: a map would kill the
process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


def read_into(descriptor: int, into: memoryview, at: int) -> None:
    """Fill a buffer from a file; one call of the system may bring fewer bytes, over 2 GiB always does.

    Args:
        descriptor: the open file.
        into: writable bytes.
        at: offset in the file.

    Raises:
        OSError: `EIO`: the file ends before the buffer is full; or what the system says.
    """
    while into:
        count = os.preadv(descriptor, [into], at)
        if not count:
            raise OSError(errno.EIO, "the file is shorter than it was")
        into, at = into[count:], at + count


def read_pieces(descriptor: int, begin: int, end: int, size: int) -> Iterator[memoryview]:
    """The bytes from `begin` to `end` in pieces of `size`, the last may be shorter, through one buffer."""
    buffer = memoryview(bytearray(min(size, end - begin)))
    for at in range(begin, end, size):
        piece = buffer[: min(size, end - at)]
        read_into(descriptor, piece, at)
        yield piece
