"""Measure what merging takes on this machine: small merges from file to file, in every form of every method.

The parts are the real ones — readers, engine, writer — so a pace holds everything that an entry costs but the wait for
the disk at the end, which is measured by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch

from cuvee import fused, methods
from cuvee.checkpoint import FolderWriter, open_checkpoint, plan_layout
from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.staged import allocate
from cuvee.execute.forms import FormSoon
from cuvee.execute.run import execute
from cuvee.execute.single import single_threads
from cuvee.methods.matrices import decomposed
from cuvee.planning import Form, Pace, bind, default_threads, referenced
from cuvee.recipe import from_data
from cuvee.types import TensorSpec

_MODELS: Final = ("a", "b", "c", "base")
_TENSORS: Final = 8
_MANY: Final = 200
"""Tensors of next to nothing, to measure what one costs whatever its size."""
_BLOCK: Final = 1 << 20
_FILE: Final = 128
"""Blocks of the file that reading and writing are measured with."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """Bytes per second: read from the page cache, written, made durable."""

    read: float
    write: float
    sync: float


def disk_speeds(folder: Path, blocks: int = _FILE) -> Speeds:
    """Write a file, make it durable, read it: the kernel's share of a merge.

    Args:
        folder: where; the file is removed again.
        blocks: its size in MiB.

    Raises:
        ResourceError: the folder cannot be written to, or is full.
    """
    path = folder / "speed"
    block = bytearray(os.urandom(_BLOCK))
    with told("measure the disk in", folder):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            allocate(handle, blocks * _BLOCK)
            times = [time.perf_counter()]
            for i in range(blocks):
                os.pwrite(handle, block, i * _BLOCK)
            times.append(time.perf_counter())
            os.fsync(handle)
            times.append(time.perf_counter())
            for i in range(blocks):
                os.preadv(handle, [block], i * _BLOCK)
            times.append(time.perf_counter())
        finally:
            os.close(handle)
            path.unlink()
    written, synced, read = (max(b - a, 1e-9) for a, b in pairwise(times))
    return Speeds(read=blocks * _BLOCK / read, write=blocks * _BLOCK / written, sync=blocks * _BLOCK / synced)


def write_models(folder: Path, entries: int, tensors: int = _TENSORS) -> None:
    """Random bfloat16 models `a`, `b`, `c` and `base`, of so many entries each."""
    numel = max(1, entries // tensors)
    specs = [TensorSpec(f"t{i}", "bfloat16", (numel,)) for i in range(tensors)]
    base = torch.randn(numel, generator=torch.Generator().manual_seed(0)) * 0.02
    for seed, name in enumerate(_MODELS):
        noise = torch.randn(numel, generator=torch.Generator().manual_seed(seed + 1)) * 0.002
        values = (base + noise).bfloat16()
        with FolderWriter(plan_layout(specs, 1 << 40), folder / name) as writer:
            for spec in specs:
                writer.write(spec.name, 0, values)
            writer.publish()


def recipe_for(method: str, folder: Path) -> dict[str, Any]:
    """A recipe of usual settings: three models, or as many as the method takes, and a base where it needs one."""
    spec = methods.get(method).spec
    most = 3 if spec.models[1] is None else min(3, spec.models[1])
    usual: dict[str, float | int] = {"weight": 0.5, "density": 0.5, "scale": 0.9, "t": 0.35, "m": 2}
    found: dict[str, Any] = {"merge_method": method, "dtype": "bfloat16"}
    found["parameters"] = {p.name: usual[p.name] for p in spec.params if p.name in usual and not p.ignored}
    found["models"] = [{"model": str(folder / name)} for name in _MODELS[: max(most, 1)]]
    if spec.base == "required":
        found["base_model"] = str(folder / "base")
    return found


def seconds_of(data: Mapping[str, Any], out: Path, *, threads: int, kernels: Form) -> float:
    """Seconds that the tensors of one merge take; nothing is published."""
    recipe = from_data(data, methods.specs(), root=None)
    method = methods.get(recipe.method)
    readers = [open_checkpoint(ref, None) for ref in referenced(recipe)]
    try:
        plan = bind(recipe, readers, method.spec)
        layout = plan_layout([step.out for step in plan.steps], 1 << 40)
        form = FormSoon(plan, readers, method, kernels=kernels)
        form.get()  # what it takes to be ready is measured by itself
        with FolderWriter(layout, out) as writer:
            begin = time.perf_counter()
            execute(plan, readers, writer, method, threads=threads, form=form)
            return time.perf_counter() - begin
    finally:
        for reader in readers:
            reader.close()


def copying(folder: Path) -> dict[str, Any]:
    """A recipe that copies."""
    return {"merge_method": "passthrough", "models": [{"model": str(folder / "a")}], "dtype": "bfloat16"}


def pace_of(data: Mapping[str, Any], folder: Path, entries: int, runs: int, kernels: Form) -> Pace:
    """The pace of a recipe: medians of a few merges, after one that is not counted.

    Args:
        data: the recipe.
        folder: holds the models; the output is made there, and removed.
        entries: of each model.
        runs: merges by one worker, and as many by one for every core.
        kernels: the form.
    """
    models = len({str(ref) for ref in referenced(from_data(data, methods.specs()))})
    seconds_of(data, folder / "out", threads=1, kernels=kernels)

    def nanoseconds(threads: int) -> float:
        taken = (seconds_of(data, folder / "out", threads=threads, kernels=kernels) for _ in range(runs))
        return median(taken) / (entries * models) * 1e9

    one = nanoseconds(1)
    return Pace(one, nanoseconds(default_threads()) if default_threads() > 1 else one)


@dataclass(frozen=True, slots=True)
class Paces:
    """What `Machine` wants to know of the methods."""

    copy: Pace
    plain: Mapping[str, Pace]
    fused: Mapping[str, Pace]
    tensor: float


def has_pace(method: str) -> bool:
    """Whether what a method takes is so much per entry: not where it factorises matrices, or reads statistics too."""
    spec = methods.get(method).spec
    return spec.scope != "matrix" and spec.collected is None


def measure_paces(
    folder: Path, entries: int, runs: int, told_of: Callable[[int, int, str], None] | None = None
) -> Paces:
    """Measure every method in each of its forms.

    Args:
        folder: where the small models and their merges go; all is removed again with it.
        entries: of each model.
        runs: merges of each kind.
        told_of: called with what is done, how much there is, and what is measured now.
    """
    write_models(folder / "models", entries)
    forms: list[tuple[str, Form]] = [(name, "plain") for name in methods.names() if has_pace(name)]
    forms += [(name, "fused") for name in methods.names() if name in fused.SAVES and fused.available()]
    found: dict[Form, dict[str, Pace]] = {"plain": {}, "fused": {}}
    for number, (name, form) in enumerate(forms):
        if told_of is not None:
            told_of(number, len(forms), f"{name}, {form}")
        found[form][name] = pace_of(recipe_for(name, folder / "models"), folder, entries, runs, form)
    copy = pace_of(copying(folder / "models"), folder, entries, runs, "plain")
    if told_of is not None:
        told_of(len(forms), len(forms), "starting up")
    return Paces(copy, found["plain"], found["fused"], _per_tensor(folder))


def _per_tensor(folder: Path) -> float:
    """Seconds for a tensor of one entry, from a merge of many."""
    write_models(folder / "many", _MANY, _MANY)
    return seconds_of(recipe_for("linear", folder / "many"), folder / "out", threads=1, kernels="plain") / _MANY


def algebra_speed(runs: int) -> float:
    """Multiplications per second of float64 products by one worker, from decompositions: see `methods.matrices`."""
    side = 384
    matrix = torch.randn(side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    taken: list[float] = []
    with single_threads(1, "cuvee-algebra") as pool:
        for _ in range(runs + 1):
            begin = time.perf_counter()
            pool.submit(torch.linalg.svd, matrix, full_matrices=False).result()
            taken.append(time.perf_counter() - begin)
    return decomposed(side, side) / median(taken[1:])
