"""Carry out a plan: check, run, hash, record, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from cuvee.checkpoint.identity import changed, was_touched
from cuvee.checkpoint.protocol import Filler, Reader
from cuvee.errors import Fault, InputError, UsageError, number_faults
from cuvee.execute.forms import FormSoon, Kernels
from cuvee.execute.ledger import Digests, Ledger, Progress
from cuvee.execute.lots import all_but
from cuvee.execute.place import Place, choose
from cuvee.execute.plain import run_step
from cuvee.execute.preflight import preflight
from cuvee.execute.resume import NOTHING, Keeper, Notes, Range, take_over
from cuvee.execute.surveying import survey
from cuvee.execute.threaded import run_threaded
from cuvee.execute.virtual import preflight_nested
from cuvee.execute.work import Bench
from cuvee.methods import Method
from cuvee.planning.devices import device_faults
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import DEFAULT_TILE, Workers, default_threads

Runner = Literal["threaded", "plain"]


def execute(
    plan: Plan,
    readers: Sequence[Reader],
    writer: Filler,
    method: Method,
    *,
    seed: int = 0,
    threads: int | None = None,
    tile: int | None = None,
    allow_nonfinite: bool = False,
    runner: Runner = "threaded",
    kernels: Kernels = "auto",
    form: FormSoon | None = None,
    device: str | Place = "cpu",
    hashes: bool = True,
    progress: Callable[[Progress], None] | None = None,
    journal: Keeper | None = None,
) -> Digests:
    """Write every tensor of a plan and hash inputs and outputs while they are at hand; nothing is published.

    Args:
        plan: what to do.
        readers: the input models, in the plan's order.
        writer: where the output goes.
        method: the recipe's method.
        seed: seed of random masks.
        threads: workers; one per core by default.
        tile: elements per tile; changes memory and speed, never a byte.
        allow_nonfinite: let NaN and infinity pass.
        runner: `plain` takes tensors whole, one at a time: the definition of correct.
        kernels: `fused` takes the fused form of the method where it has one, `plain` never, `auto` where it is
            installed and saves more than it takes to be ready. The bytes are the same.
        form: the form, if it is being made ready already.
        device: `cpu`, `cuda`, `cuda:1` … or `auto`: where tiles are combined; or a place that was found before, whose
            workers and tiles are given then. The bytes are the same.
        hashes: take the hashes; without them the result is empty.
        progress: called after every tile, from any thread.
        journal: the writer, if it keeps one: finished ranges are noted, and those that an earlier run noted are not
            done again.

    Raises:
        InputError: a tensor that must be finite, or equal in all models, is not; an input changed while it was read.
        UsageError: `threads` or `tile` below 1, a `seed` that is no integer, an unknown runner, fused kernels where
            numba is not installed, or a device that is not there.
    """
    if faults := number_faults(seed=seed, threads=threads, tile=tile):
        raise UsageError(faults)
    _check_choice("runner", runner, get_args(Runner))
    _check_choice("kernels", kernels, get_args(Kernels))
    place, workers = _settled(device, plan, threads, tile, runner, kernels)
    on = "plain" if place is not None else kernels
    soon = form or FormSoon(plan, readers, method, seed=seed, kernels=on, allow_nonfinite=allow_nonfinite)
    preflight_nested(readers)
    preflight(plan, readers)
    return carry_out(
        plan,
        readers,
        writer,
        method,
        seed=seed,
        workers=workers,
        allow_nonfinite=allow_nonfinite,
        runner=runner,
        form=soon,
        place=place,
        hashes=hashes,
        progress=progress,
        journal=journal,
    )


def carry_out(
    plan: Plan,
    readers: Sequence[Reader],
    writer: Filler,
    method: Method,
    *,
    seed: int,
    workers: Workers,
    allow_nonfinite: bool,
    form: FormSoon,
    runner: Runner = "threaded",
    place: Place | None = None,
    hashes: bool = True,
    progress: Callable[[Progress], None] | None,
    journal: Keeper | None,
) -> Digests:
    """Do what `execute` does, after its checks."""
    ended = NOTHING if journal is None else take_over(plan, readers, journal)
    ledger = Ledger(plan, hashes=hashes, progress=progress, journal=journal, finished=ended)
    bench = Bench(plan, readers, writer, method, ledger, seed, allow_nonfinite)
    if any(_left(ledger, step) for step in plan.steps):  # what others or an earlier run have finished needs no survey
        tile = None if runner == "plain" else workers.tile
        bench = replace(bench, whole=survey(bench, threads=workers.threads, tile=tile))

    def finished(step: Step) -> None:
        ledger.complete(step, readers, writer)

    if runner == "threaded":
        there = None if place is None else place.device
        form_now = form.get()
        run_threaded(bench, threads=workers.threads, tile=workers.tile, finished=finished, form=form_now, device=there)
    for step in plan.steps:
        if runner == "plain":
            run_step(bench, step)
        if runner == "plain" or not _left(ledger, step):
            finished(step)
    _check_unchanged(readers, ledger.digests)
    return ledger.digests


def _left(ledger: Ledger, step: Step) -> Sequence[Range]:
    """What is still to be written of a tensor."""
    return ledger.left(step, [(0, step.out.numel)] if step.out.numel else [])


def write_ranges(
    plan: Plan,
    readers: Sequence[Reader],
    writer: Filler,
    method: Method,
    ranges: Mapping[str, Sequence[Range]],
    *,
    seed: int,
    threads: int,
    tile: int,
    allow_nonfinite: bool,
    kernels: Kernels,
    journal: Notes,
    whole: Any = None,
) -> None:
    """Write some ranges of a plan's tensors and note each; what the others need is for whoever publishes.

    Args:
        plan: what to do, with the tensors of `ranges` only.
        readers: the input models, in the plan's order.
        writer: where the output goes.
        method: the recipe's method.
        ranges: what to write, by tensor: whole blocks.
        seed: seed of random masks.
        threads: workers.
        tile: elements per tile.
        allow_nonfinite: let NaN and infinity pass.
        kernels: as for `execute`.
        journal: where finished ranges are noted.
        whole: what the method's surveys concluded of the whole plan.

    Raises:
        InputError: an input is not finite, or changed while it was read.
    """
    others = all_but(plan.steps, lambda step: ranges[step.out.name])
    ledger = Ledger(plan, hashes=True, progress=None, journal=journal, finished=others)
    bench = Bench(plan, readers, writer, method, ledger, seed, allow_nonfinite, whole)
    form = FormSoon(plan, readers, method, seed=seed, kernels=kernels, allow_nonfinite=allow_nonfinite)
    run_threaded(bench, threads=threads, tile=tile, finished=lambda _step: None, form=form.get())
    for reader in readers:
        reader.check_unchanged()


def _settled(
    device: str | Place, plan: Plan, threads: int | None, tile: int | None, runner: Runner, kernels: Kernels
) -> tuple[Place | None, Workers]:
    """The device to use, `None` for the processor, and the workers."""
    if device == "cpu" or isinstance(device, Place):
        workers = Workers(threads or default_threads(), tile or DEFAULT_TILE)
        return (device if isinstance(device, Place) else None), workers
    if faults := device_faults(device, runner, kernels):
        raise UsageError(faults)
    choice = choose(device, plan, threads=threads, tile=tile, runner=runner, kernels=kernels)
    return choice.place, choice.workers


def _check_unchanged(readers: Sequence[Reader], digests: Digests) -> None:
    """Refuse inputs that were written to, and read again those that may have been: with their times put back."""
    for reader in readers:
        reader.check_unchanged()
    names = {
        i: {t for f in reader.input_files if was_touched(f) for t in f.tensors} for i, reader in enumerate(readers)
    }
    for piece, digest in digests.inputs.items():
        if piece.tensor in names[piece.model] and readers[piece.model].digest(piece.tensor) != digest:
            raise InputError(changed(readers[piece.model].label, "while it was read"))


def _check_choice(name: str, given: object, known: Sequence[str]) -> None:
    if given not in known:
        raise UsageError(Fault("bad-argument", f"`{name}` must be one of {', '.join(known)}; found {given!r}"))
