"""How the C library keeps the memory that tiles come and go in."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_SETTINGS: Final = (
    (-3, 32 * 1024**2),  # M_MMAP_THRESHOLD: the most that glibc takes for it
    (-1, 256 * 1024**2),  # M_TRIM_THRESHOLD
)


def keep_freed_memory() -> bool:
    """Let freed blocks wait for the next tile instead of going back to the system, for the whole process.

    glibc maps large blocks anew each time and unmaps them when they are freed; every page of every tile then costs a
    fault: a third of the time of a linear merge. Peak memory stays what it is. A process that only borrows Cuvee keeps
    its own policy, so only the command line calls this.

    Returns:
        Whether the library took the settings; `False` where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in _SETTINGS)
