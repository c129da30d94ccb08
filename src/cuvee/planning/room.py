"""How many workers, and tiles of which size, fit into an amount of memory."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cuvee.errors import Fault, ResourceError
from cuvee.methods import METHODS
from cuvee.planning.free import free_memory
from cuvee.planning.model import Action, Plan, Step
from cuvee.planning.scaling import settling_memory
from cuvee.types import rows_of

_MIB: Final = 1 << 20
DEFAULT_TILE: Final = 1 << 19
"""Elements per tile: measured; smaller ones spend their time on calls, larger ones leave the cache."""
SMALLEST_TILE: Final = 1 << 13
"""Below this a smaller tile saves next to nothing."""
PASS_TILE: Final = 1 << 17
"""Elements at a time of a result that is evaluated while it is read."""
FIXED_BYTES: Final = 256 * _MIB
"""The interpreter with torch and numba loaded, and a method being compiled; 165 to 235 MiB measured."""
_ALIGNED: Final = 1024
"""Elements that tiles are multiples of: `tensors.BLOCK`, which is not asked because that would load torch."""
_PER_ENTRY: Final = 20
_PER_ENTRY_OF_DELTAS: Final = 12
_PER_ENTRY_DRAWN: Final = 14
"""Bytes of buffers per entry and input (and output) of a tile, in float32: of every method in its plain form; more
for those that work on deltas, and those that draw random numbers. 13, 24 and 31 in all measured."""
_PER_ENTRY_OF_MATRIX: Final = 8
"""The same where a tile is a whole matrix: as it is read, and stacked; what is worked out of it the method counts."""
_PER_BYTE_BESIDE: Final = 5
"""Bytes per byte of a matrix that was collected: read, widened to float64, and solved with."""
_KEPT_BYTES: Final = 32 * _MIB
_KEPT_SHARE: Final = 6
"""What the C library keeps of freed memory where it is let (see `execute.heap`): so much, and one part in so many of
what comes and goes. 34 MiB of 120 measured, 90 MiB of 900."""
_PER_TENSOR: Final = 2000
"""Bytes of headers, plan and record per tensor and model; 1,500 measured."""
_PER_TILE: Final = 400
_PER_TILE_AND_INPUT: Final = 320
"""Bytes of tasks, hashes and partial statistics per tile of a tensor under way, and per tile and input."""
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
    coming = _buffers(plan, workers) + held_by_passes(plan, workers) + _beside(plan, workers)
    coming = max(coming, settling_memory(plan, workers.threads)) + evaluating(plan, workers.threads)
    kept = _KEPT_BYTES + coming // _KEPT_SHARE if keeps else 0
    return host_memory(plan) + coming + kept


def host_memory(plan: Plan) -> int:
    """What a run takes whatever its workers, in bytes."""
    tensors = sum(facts.tensors for facts in plan.models) + len(plan.steps)
    return FIXED_BYTES + tensors * _PER_TENSOR + sum(facts.held for facts in plan.models)


def _buffers(plan: Plan, workers: Workers) -> int:
    """What the tiles take that are worked on at a time: one per worker."""
    by_entry = _PER_ENTRY
    if plan.recipe.method in METHODS:
        method = METHODS.get(plan.recipe.method)
        by_entry += _PER_ENTRY_OF_DELTAS if method.spec.space == "delta" else 0
        by_entry += _PER_ENTRY_DRAWN if "draws" in method.wants else 0
    most = 0
    for step in plan.steps:
        each = _PER_ENTRY_OF_MATRIX if step.scope == "matrix" and step.action == "merge" else by_entry
        tensors = len(step.pieces) + len(step.collected) if step.action == "merge" else 1
        wide = "float64" in (step.work, step.out.dtype)
        most = max(most, min(_unit(step, workers.tile), step.out.numel) * each * (tensors + 1) * (2 if wide else 1))
    return workers.threads * most


def _unit(step: Step, tile: int) -> int:
    """Elements of a tile: whole rows, or all of a matrix, where the method needs them; see `tile_ranges`."""
    unit = math.lcm(_ALIGNED, step.grain)
    return -(-tile // unit) * unit


def evaluating(plan: Plan, threads: int) -> int:
    """What models take that are results, evaluated while they are read: a worker is at one of them at a time."""
    inner = [facts.plan for facts in plan.models if facts.plan is not None]
    most = fixed = 0
    for one in inner:
        own = Workers(threads, PASS_TILE)
        if not all_by_element([one]):
            own = Workers(1, max((step.out.numel for step in one.steps), default=1))  # whole tensors, one at a time
        tiles = _buffers(one, own) + held_by_passes(one, own) + _beside(one, own) + evaluating(one, threads)
        most = max(most, tiles, settling_memory(one, 1))
        fixed += (sum(facts.tensors for facts in one.models) + len(one.steps)) * _PER_TENSOR
    return (most if all_by_element(inner) else most * len(inner)) + fixed


def all_by_element(plans: list[Plan]) -> bool:
    """Whether the methods of some plans see single entries."""
    return all(step.action == "copy" or step.scope in ("element", "model") for plan in plans for step in plan.steps)


def held_by_passes(plan: Plan, workers: Workers) -> int:
    """What is held of the tensors that may be open at a time: one per worker, the largest ones."""
    alike = Counter((step.action, step.out.numel, len(step.pieces)) for step in plan.steps)
    held = sorted(((_of_tensor(plan, *kind, workers.tile), count) for kind, count in alike.items()), reverse=True)
    total, left = 0, workers.threads
    for nbytes, count in held:
        total += nbytes * min(count, left)
        left -= min(count, left)
    return total


def _of_tensor(plan: Plan, action: Action, numel: int, pieces: int, tile: int) -> int:
    """What passes hold of a tensor, and what is kept of each of its tiles."""
    tiles = -(-numel // tile) * (_PER_TILE + _PER_TILE_AND_INPUT * pieces)
    if action == "copy" or plan.recipe.method not in METHODS:
        return tiles
    return tiles + METHODS.get(plan.recipe.method).holds(numel, pieces, tile)


def _beside(plan: Plan, workers: Workers) -> int:
    """What is read with the tiles that are worked on at a time, and the factors of matrices."""
    merged = [step for step in plan.steps if step.action == "merge"]
    each = [_PER_BYTE_BESIDE * step.beside + _factors(plan, step) for step in merged]
    return workers.threads * max(each, default=0)


def _factors(plan: Plan, step: Step) -> int:
    if step.scope != "matrix" or plan.recipe.method not in METHODS:
        return 0
    return METHODS.get(plan.recipe.method).factors(*rows_of(step.out.shape), len(step.pieces))


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
    needs: dict[Workers, int] = {}
    for workers in choices:
        needs[workers] = peak_memory(plan, workers, keeps=limit is None)
        if room is None or needs[workers] <= room:
            return workers
    # Small tiles of a very large tensor are so many that they may take more than larger ones.
    workers = min(needs, key=needs.__getitem__)
    least = needs[workers]
    if limit is None and ((free := free_memory()) is None or least <= free):
        return workers
    raise ResourceError(_too_little(least, room or 0, limit))


def _too_little(least: int, room: int, limit: int | None) -> Fault:
    mebibytes = -(-least // _MIB)
    what = f"the limit is {room / _MIB:,.0f} MiB" if limit is not None else "less than that is free"
    message = f"this merge needs {mebibytes:,} MiB of memory at least, {what}"
    tried = f"close other programs, set --max-memory to {mebibytes}MiB to try all the same"
    remedy = tried if limit is None else f"set --max-memory to {mebibytes}MiB or more"
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
