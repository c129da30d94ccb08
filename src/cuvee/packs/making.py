"""Making a pack: one pass over the models, tile by tile, that writes the merged delta and every task's masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cuvee import tensors
from cuvee.checkpoint import FolderWriter, plan_layout
from cuvee.checkpoint.format import place
from cuvee.checkpoint.pack_form import PACK_NAME, as_text, mask_file, mask_name
from cuvee.checkpoint.protocol import Layout, Reader, Shard
from cuvee.errors import Fault, InputError, RecipeError
from cuvee.execute.ledger import Ledger, Progress
from cuvee.execute.preflight import preflight
from cuvee.execute.publish import RECIPE_NAME, texts_of
from cuvee.execute.settling import settle
from cuvee.execute.single import SINGLE
from cuvee.execute.surveying import survey
from cuvee.execute.work import Bench, all_finite, read_tile, write_checked
from cuvee.methods import Job, Method, Round
from cuvee.methods.tiles import Tally, combine_tile, findings, observed, tile_ranges
from cuvee.packs.marks import Found, Masks, Totals, rescalers
from cuvee.packs.tasks import changed_steps, clash_faults, models_of, plan_faults, task_names
from cuvee.packs.telling import Told, data_of
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import Workers
from cuvee.types import TensorSpec


@dataclass(frozen=True)
class Packed:
    """What was written.

    Attributes:
        data: the content of `pack.json`.
        copied: tensors that are the base's own.
        nbytes: bytes of all weight files.
    """

    data: Mapping[str, Any]
    copied: int
    nbytes: int


def make_pack(
    plan: Plan,
    readers: Sequence[Reader],
    method: Method,
    out: Path,
    *,
    masks: Masks,
    dtype: str | None,
    seed: int,
    workers: Workers,
    shard_bytes: int,
    protected: Sequence[Path] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Packed:
    """Write a pack; the folder appears complete or not at all.

    Args:
        plan: the recipe's plan.
        readers: the input models, in its order.
        method: the recipe's method.
        out: the folder to make.
        masks: how masks are made.
        dtype: what the delta is stored in; `None` for that of the arithmetic.
        seed: seed of random masks of the method.
        workers: how many, and their tiles; they change no byte.
        shard_bytes: most bytes of one file of the delta.
        protected: what the output must not replace.
        progress: called after every tile, from any thread.

    Raises:
        RecipeError: the recipe cannot be packed.
        InputError: a model is not finite, or changed while it was read.
        OutputExists: `out` is there.
        ResourceError: no room, or no right to write.
    """
    if faults := list(plan_faults(plan, readers)):
        raise RecipeError(faults)
    plan = settle(plan, readers, method, seed=seed, workers=workers, progress=progress)
    steps = [_as_delta(step, dtype) for step in changed_steps(plan)]
    models = models_of(steps[0])
    tasks = task_names([plan.models[i].ref for i in models])
    if faults := list(clash_faults(steps, tasks)):
        raise RecipeError(faults)
    preflight(plan, readers)
    layout = _layout(steps, tasks, shard_bytes)
    deltas = replace(plan, steps=tuple(steps))
    with FolderWriter(layout, out, protected=protected) as writer:
        ledger = Ledger(deltas, hashes=True, progress=progress)
        bench = Bench(deltas, readers, writer, method, ledger, seed)
        bench = replace(bench, whole=survey(bench, threads=workers.threads, tile=workers.tile))
        totals = _fill(_Making(bench, masks, tuple(tasks)), workers)
        for reader in readers:
            reader.check_unchanged()
        found = _found(masks, totals, tasks, writer, layout)
        data = data_of(plan, readers, ledger.digests, method.spec, masks, found, seed=seed, out=writer.out)
        writer.add_text(RECIPE_NAME, texts_of(plan)[RECIPE_NAME])
        writer.add_text(PACK_NAME, as_text(data))
        writer.publish()
    return Packed(data, len(plan.steps) - len(steps), layout.nbytes)


def _as_delta(step: Step, dtype: str | None) -> Step:
    """The step that writes a tensor's delta."""
    return replace(step, out=TensorSpec(step.out.name, dtype or step.work, step.out.shape))


def _layout(steps: Sequence[Step], tasks: Sequence[str], shard_bytes: int) -> Layout:
    """The files of the delta, and one of masks for every task."""
    delta = plan_layout([step.out for step in steps], shard_bytes)
    shards = list(delta.shards)
    for task in tasks:
        specs = [TensorSpec(mask_name(s.out.name, task), "uint8", (math.ceil(s.out.numel / 8),)) for s in steps]
        header, places = place(specs)
        shards.append(Shard(mask_file(task), header, places, places[-1].end))
    return Layout(tuple(shards), delta.index)


@dataclass(frozen=True)
class _Making:
    """What all tensors of a pack share."""

    bench: Bench
    masks: Masks
    tasks: tuple[str, ...]


def _fill(making: _Making, workers: Workers) -> list[Totals]:
    """Write all tensors; each worker takes one at a time."""
    SINGLE.enter()
    try:
        with ThreadPoolExecutor(workers.threads, "cuvee-pack", torch.set_num_threads, (1,)) as pool:
            doing = [pool.submit(_fill_one, making, step, workers.tile) for step in making.bench.plan.steps]
            try:
                return [one.result() for one in doing]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after a fault the others are not begun
    finally:
        SINGLE.leave()


@torch.no_grad()
def _fill_one(making: _Making, step: Step, tile: int) -> Totals:
    """Write the delta and the masks of one tensor."""
    bench = making.bench
    job, ranges = bench.job(step), tile_ranges(step.out.numel, tile, step.grain)

    def shown(following: Round, known: object) -> object:
        tally = Tally()
        for start, stop in ranges:
            part = read_tile(bench, step, start, stop, job, first=False)
            tally.add(observed(following, part.stack, start, job, known))
        return tally.total()

    known = findings(bench.method.measure, job, shown)
    tally = Tally()
    for start, stop in ranges:
        tally.add(_fill_tile(making, step, job, known, start, stop))
    bench.ledger.complete(step, bench.readers, bench.writer)
    return Totals.of(tally.total())


def _fill_tile(making: _Making, step: Step, job: Job, known: object, start: int, stop: int) -> Found:
    bench = making.bench
    part = read_tile(bench, step, start, stop, job)
    nothing = torch.zeros_like(part.stack[0])
    merged = combine_tile(bench.method, part.stack, nothing, start, job, known, part.collected)
    stored = tensors.round_to(merged, getattr(torch, step.out.dtype))
    if not all_finite(stored):
        raise InputError(_too_large(step))
    write_checked(bench, step, start, stored)
    stored = stored.to(job.dtype)
    marks = [making.masks.of(delta, stored) for delta in part.stack]
    for task, mark in zip(making.tasks, marks, strict=True):
        bench.writer.write(mask_name(step.out.name, task), start // 8, tensors.pack_bits(mark))
    return Found.of(part.stack, stored, marks, start)


def _too_large(step: Step) -> Fault:
    message = f"tensor {step.out.name}: an entry of the merged delta is too large for {step.out.dtype}"
    return Fault("non-finite", message, subject=step.out.name, hint="take another dtype for the pack")


def _found(
    masks: Masks, totals: Sequence[Totals], tasks: Sequence[str], writer: FolderWriter, layout: Layout
) -> list[Told]:
    """What is found out about every task."""
    factors = rescalers(masks, totals, len(tasks))
    if any(not math.isfinite(factor) for factor in factors):
        message = "the magnitudes of the deltas add up to more than a number can hold"
        raise InputError(Fault("non-finite", message, hint="is one of the models damaged?"))
    found = []
    for i, (task, factor) in enumerate(zip(tasks, factors, strict=True)):
        shard = next(shard for shard in layout.shards if shard.name == mask_file(task))
        content = {p.spec.name: (p.spec, writer.digest(p.spec.name)) for p in shard.tensors}
        kept = sum(one.kept[i] for one in totals)
        found.append(Told(task, factor, kept, content, shard.nbytes))
    return found
