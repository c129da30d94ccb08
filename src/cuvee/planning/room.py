"""How many workers, and tiles of which size, fit into an amount of memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cuvee.errors import Fault, ResourceError
from cuvee.methods import METHODS
from cuvee.planning.model import Plan

DEFAULT_TILE: Final = 1 << 18
"""Elements per tile: measured; smaller ones spend their time on calls, larger ones leave the cache."""
SMALLEST_TILE: Final = 1 << 13
"""Below this a smaller tile saves next to nothing."""
TILE_BYTES_PER_ENTRY: Final = 28
"""Bytes of buffers per entry and input that one worker holds at a time, measured on TIES in its plain form."""
FIXED_BYTES: Final = 230 * 1024**2
"""The interpreter with torch and numba loaded, before any work, measured."""
KEPT_BYTES: Final = 112 * 1024**2
"""What the C library keeps of freed memory where it is let (see `execute.heap`), measured."""
_PER_TENSOR: Final = 2600
"""Bytes of headers, plan and record per tensor and model, measured."""
_SHARE: Final = 2
"""Without a limit a merge takes one part in so many of the memory that is free."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers, and how many elements each takes at a time."""

    threads: int
    tile: int


def default_threads() -> int:
    """One worker per core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory(plan: Plan, workers: Workers, *, keeps: bool = True) -> int:
    """An upper bound of the memory that carrying out a plan takes at any time and that is not file cache, in bytes.

    Args:
        plan: the plan.
        workers: how it is carried out.
        keeps: whether the C library may keep freed memory, as it does where no limit is set.
    """
    merged = [step for step in plan.steps if step.action == "merge"]
    widest = max((len(step.pieces) for step in merged), default=1)
    largest = max((step.out.numel for step in plan.steps), default=0)
    tiles = workers.threads * min(workers.tile, largest) * TILE_BYTES_PER_ENTRY * (widest + 1)
    return host_memory(plan) + (KEPT_BYTES if keeps else 0) + tiles + held_by_passes(plan, workers)


def host_memory(plan: Plan) -> int:
    """What a run takes whatever its workers, in bytes."""
    tensors = sum(facts.tensors for facts in plan.models) + len(plan.steps)
    return FIXED_BYTES + tensors * _PER_TENSOR


def held_by_passes(plan: Plan, workers: Workers) -> int:
    """What the passes of a method hold of the tensors that may be open at a time: one per worker, the largest ones."""
    if plan.recipe.method not in METHODS:
        return 0
    holds = METHODS.get(plan.recipe.method).holds
    merged = (step for step in plan.steps if step.action == "merge")
    held = sorted((holds(step.out.numel, len(step.pieces), workers.tile) for step in merged), reverse=True)
    return sum(held[: workers.threads])


def fit_workers(plan: Plan, limit: int | None, threads: int | None = None, tile: int | None = None) -> Workers:
    """The workers to carry out a plan with: as many as asked for, tiles as large as fit, fewer only if they must be.

    Args:
        plan: the plan.
        limit: most memory, in bytes; a share of what is free without it.
        threads: workers, if they are given; as many as cores otherwise.
        tile: elements per tile, if they are given.

    Raises:
        ResourceError: `memory`: even one worker with the smallest tile needs more; the least that works is named.
    """
    room = limit if limit is not None else _default_limit()
    choices = [Workers(count, size) for count in _threads(threads) for size in _tiles(tile)]
    for workers in choices:
        if room is None or peak_memory(plan, workers, keeps=limit is None) <= room:
            return workers
    least = peak_memory(plan, choices[-1], keeps=limit is not None)
    if limit is None and least <= (free_memory() or least):
        return choices[-1]
    raise ResourceError(_too_little(least, room or 0, limit))


def _too_little(least: int, room: int, limit: int | None) -> Fault:
    mebibytes = -(-least // 1024**2)
    what = f"the limit is {room / 1024**2:,.0f} MiB" if limit is not None else "less than that is free"
    message = f"this merge needs {mebibytes:,} MiB of memory at least, {what}"
    remedy = f"set --max-memory to {mebibytes}MiB or more" if limit is not None else "close other programs"
    return Fault("memory", message, hint=f"{remedy}, or merge fewer models at a time")


def _threads(given: int | None) -> Iterator[int]:
    yield from (given,) if given is not None else range(default_threads(), 0, -1)


def _tiles(given: int | None) -> Iterator[int]:
    size = given if given is not None else DEFAULT_TILE
    yield size
    while given is None and size > SMALLEST_TILE:
        size //= 2
        yield size


def _default_limit() -> int | None:
    free = free_memory()
    return None if free is None else free // _SHARE


def free_memory() -> int | None:
    """Bytes that this process may still take without pushing others out; `None` where the system does not say."""
    found = [size for size in (_available(), _left_in_group()) if size is not None]
    return min(found, default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_group() -> int | None:
    """What a container's limit leaves; its file cache counts as used, so this is on the safe side."""
    group = Path("/sys/fs/cgroup")
    try:
        most, used = (group / "memory.max").read_text("ascii"), (group / "memory.current").read_text("ascii")
    except OSError:
        return None
    return None if most.strip() == "max" else max(0, int(most) - int(used))
