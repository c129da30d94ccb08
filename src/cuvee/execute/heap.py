"""How the C library keeps the memory that tiles come and go in."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1  # M_TRIM_THRESHOLD
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD
_LARGEST_KEPT: Final = 32 * 1024**2  # the most that glibc takes for it
_KEPT: Final = 256 * 1024**2


def keep_freed_memory() -> None:
    """Let freed blocks wait for the next tile instead of going back to the system, for the whole process.

    glibc maps large blocks anew each time and unmaps them when they are freed; every page of every tile then costs a
    fault: a third of the time of a linear merge. Peak memory stays what it is. A process that only borrows Cuvee keeps
    its own policy, so only the command line calls this; where there is no glibc, nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)
