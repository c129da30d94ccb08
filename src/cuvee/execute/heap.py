"""How the C library keeps the memory that tiles come and go in."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
_KEEPING: Final = (
    (_MMAP_THRESHOLD, 32 * 1024**2),  # the most that glibc takes for it
    (_TRIM_THRESHOLD, 256 * 1024**2),
)
_GIVING_BACK: Final = ((_MMAP_THRESHOLD, 64 * 1024),)


def keep_freed_memory() -> bool:
    """Let freed blocks wait for the next tile instead of going back to the system, for the whole process.

    glibc maps large blocks anew each time and unmaps them when they are freed; every page of every tile then costs a
    fault: a third of the time of a linear merge. Peak memory stays what it is. A process that only borrows Cuvee keeps
    its own policy, so only the command line calls this.

    Returns:
        Whether the library took the settings; `False` where there is no glibc.
    """
    return _set(_KEEPING)


def give_back_freed_memory() -> bool:
    """Let no block of a tile come from where small ones lie, for the whole process.

    By itself glibc puts blocks of up to 32 MiB among the small ones, once some were freed. Of every tile of a method
    with passes a little stays, and what was freed around it is then too small for the next tile: the gaps of a tensor
    of 2³¹ entries add up to gibibytes.

    Returns:
        Whether the library took the setting; `False` where there is no glibc.
    """
    return _set(_GIVING_BACK)


def _set(settings: tuple[tuple[int, int], ...]) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in settings)
