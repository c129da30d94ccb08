"""Which device a job asks for, whether it is worth one, and which tiles fit into the memory of both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from cuvee.errors import Fault, ResourceError
from cuvee.methods import METHODS
from cuvee.planning.free import free_memory
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import SMALLEST_TILE, Workers, default_threads, evaluating, held_by_passes, host_memory
from cuvee.types import DTYPES

DEVICE_TILE: Final = 1 << 22
"""Elements per tile on a device: its kernels take longer than it takes to ask for them from 2^20 on. Reckoned."""
LARGE: Final = 4 * 1024**3
"""Bytes to be read of what is merged from which `auto` takes a GPU: starting CUDA costs seconds. Reckoned."""
CUDA_BYTES: Final = 1024**3
"""Host memory of a process that has started CUDA, besides what it works with. Reckoned."""
DEVICE_BYTES_PER_ENTRY: Final = 64
"""Device memory per float32 entry of the stack that one tile holds at most (TIES with `rescale`). Reckoned."""
_FEWEST: Final = 3
"""Tiles in flight, where memory allows: one is read, one is combined, one is written."""
_ASKED: Final = re.compile(r"cpu|auto|cuda(:\d{1,4})?")


def device_faults(device: object, runner: object, kernels: object) -> list[Fault]:
    """What is wrong with a device as text, or with what else is asked for beside it."""
    if not isinstance(device, str) or not _ASKED.fullmatch(device):
        message = f"`device` must be cpu, cuda, cuda:0, cuda:1 … or auto; found {device!r:.80}"
        return [Fault("bad-argument", message, subject="device")]
    if not device.startswith("cuda"):
        return []
    others = {"the plain runner": runner == "plain", "fused kernels": kernels == "fused"}
    return [
        Fault(
            "bad-argument", f"{what} work on the CPU; found `device` {device}", subject="device", hint="leave out one"
        )
        for what, is_asked in others.items()
        if is_asked
    ]


def read_for_merging(plan: Plan) -> int:
    """Bytes of all inputs of merged tensors, counted in the output's dtype."""
    return sum(step.out.nbytes * len(step.pieces) for step in plan.steps if step.action == "merge")


def why_not(plan: Plan, runner: object, kernels: object) -> str | None:
    """Why `auto` does not even look for a GPU."""
    if runner == "plain" or kernels == "fused":
        return "what was asked for works on the CPU"
    if plan.recipe.method in METHODS and METHODS.get(plan.recipe.method).spec.scope != "element":
        return f"{plan.recipe.method} works on the CPU"
    if read_for_merging(plan) < LARGE:
        return f"less than {LARGE // 1024**3} GiB are to be merged: a GPU would take longer to start"
    return None


def fit_device(
    plan: Plan, free: int, limit: int | None, threads: int | None = None, tile: int | None = None
) -> Workers:
    """The workers to carry out a plan with on a device: the largest tiles that fit, and as many of them as fit.

    Args:
        plan: the plan.
        free: bytes that are free on the device; half of them are taken at most.
        limit: most memory of the host, in bytes, pinned memory included; half of what is free without it.
        threads: workers, if they are given; one per core, but three at least, otherwise.
        tile: elements per tile, if they are given.

    Raises:
        ResourceError: `memory`: one worker with the smallest tile needs more of either.
    """
    most = threads if threads is not None else max(_FEWEST, default_threads())
    free_here = free_memory()
    room = limit if limit is not None else (1 << 62 if free_here is None else free_here // 2)
    for workers in _choices(most, threads is not None, tile):
        if on_host(plan, workers) <= room and on_device(plan, workers) <= free // 2:
            return workers
    least = Workers(threads or 1, tile or SMALLEST_TILE)
    raise ResourceError(list(_too_little(plan, least, free, room)))


def _choices(most: int, is_given: bool, tile: int | None) -> Iterator[Workers]:
    size = DEVICE_TILE if tile is None else tile
    while size >= SMALLEST_TILE or size == tile:
        yield from (Workers(count, size) for count in range(most, most - 1 if is_given else 0, -1))
        if tile is not None:
            return
        size //= 2


def _too_little(plan: Plan, least: Workers, free: int, room: int) -> Iterator[Fault]:
    for where, needed, there in (
        ("this machine", on_host(plan, least), room),
        ("the GPU", on_device(plan, least), free // 2),
    ):
        if needed > there:
            message = (
                f"this merge needs {needed / 1024**2:,.0f} MiB of memory of {where}; {there / 1024**2:,.0f} may be had"
            )
            yield Fault("memory", message, hint="take --device cpu, a smaller --tile or a larger --max-memory")


def on_host(plan: Plan, workers: Workers) -> int:
    """An upper bound of the memory of the host that a plan takes on a device, in bytes."""
    pinned = max((_pinned(step, workers.tile) for step in plan.steps if step.action == "merge"), default=0)
    passes = held_by_passes(plan, workers) + evaluating(plan, workers.threads)
    return host_memory(plan) + CUDA_BYTES + workers.threads * pinned + passes


def _pinned(step: Step, tile: int) -> int:
    """A worker's buffers: one per input and one for the output, each rounded up to a power of two by torch."""
    widest = max(DTYPES["float32"].size, DTYPES[step.out.dtype].size, DTYPES[step.work].size)
    size = min(tile, step.out.numel) * widest
    return (len(step.pieces) + 1) * (1 << max(size - 1, 1).bit_length())


def on_device(plan: Plan, workers: Workers) -> int:
    """An upper bound of the device memory that a plan takes, in bytes; what does not fit after all is cut."""
    merged: list[Any] = [step for step in plan.steps if step.action == "merge"]
    largest = max((_stacked(step, workers.tile) for step in merged), default=0)
    return workers.threads * largest * DEVICE_BYTES_PER_ENTRY


def _stacked(step: Step, tile: int) -> int:
    """Entries of a tile's stack, those of float64 counted twice."""
    return min(tile, step.out.numel) * (len(step.pieces) + 1) * (2 if step.work == "float64" else 1)
