"""A worker in a process of its own, on this machine or another: one lot of a plan, into the shared staging folder."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cuvee import methods
from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint.attached import AttachedWriter
from cuvee.checkpoint.job import job_differences
from cuvee.checkpoint.journal import Entry, disjoint
from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.checkpoint.staging import find_places
from cuvee.errors import CuveeError, Fault, InputError, ResourceError, listed
from cuvee.execute.forms import Kernels
from cuvee.execute.lots import Lot
from cuvee.execute.opening import as_asked
from cuvee.execute.resume import Finished, Range, describe
from cuvee.execute.run import write_ranges
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import fit_workers
from cuvee.tokens.alone import open_giver
from cuvee.types import ModelRef

SHARE: Final = "the models and the folder of the output must be on a file system that all machines of the cluster share"


@dataclass(frozen=True)
class Errand:
    """What every worker of a run is told; it can be pickled.

    The plan goes along instead of being made again from the recipe: that is faster, and cannot come out otherwise.

    Attributes:
        run: a name that no other run has.
        plan: what is done, without what only the publishing run needs.
        layout: where every byte stands.
        out: the output, as an absolute path.
        root: folder that relative model paths start from, absolute.
        paths: the models that are files and folders, absolute: a worker that does not see one must not take its name
            for that of a model on the hub.
        job: what the publishing run found, its inputs among it.
        seed, allow_nonfinite, kernels: as for `execute`.
        threads: threads for one lot.
        tile: elements per tile, if they were given.
        limit: most memory of a process, in bytes, if it was given.
        whole: what the method's surveys concluded of the plan.
    """

    run: str
    plan: Plan
    layout: Layout
    out: Path
    root: Path
    paths: tuple[Path, ...]
    job: Mapping[str, Any]
    seed: int
    allow_nonfinite: bool
    kernels: Kernels
    threads: int
    tile: int | None = None
    limit: int | None = None
    whole: Any = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """How a lot ended.

    Attributes:
        journals: names of the journals that say what is finished of it.
        error: class and faults of what went wrong, if something did: an exception of ours does not survive pickling.
    """

    journals: tuple[str, ...] = ()
    error: tuple[type[CuveeError], tuple[Fault, ...]] | None = None


def portable(plan: Plan) -> Plan:
    """A plan as a worker needs it: without the places of a recipe's file, which cannot be pickled, and side files."""
    return replace(plan, recipe=replace(plan.recipe, locate=None), side_files=(), config_text=None)


def deliver(errand: Errand, number: int, lot: Lot) -> Delivered:
    """Write a lot; what goes wrong is told and not raised.

    Args:
        errand: the run.
        number: which of its lots this is.
        lot: what to write.
    """
    try:
        return Delivered(_write(errand, number, lot))
    except CuveeError as error:
        return Delivered(error=(type(error), error.faults))


def _write(errand: Errand, number: int, lot: Lot) -> tuple[str, ...]:
    """Write what no earlier attempt at the lot has written."""
    stem = f"{errand.run}-{number}-"
    worker = f"{stem}{re.sub('[^A-Za-z0-9.]', '_', platform.node())}-{os.getpid()}"
    with told("look at the folders of", errand.out):
        _check_seen(*errand.paths, find_places(errand.out).staging)
    with _models(errand) as readers:
        _check_same(errand, readers)
        writer = AttachedWriter(errand.layout, errand.out, job=errand.job, worker=worker)
        with writer:
            earlier = writer.attempts(stem)
            done = _standing(writer, earlier)
            steps = [step for step in errand.plan.steps if step.out.name in lot.ranges]
            left = {step.out.name: done.left(step.out.name, lot.ranges[step.out.name]) for step in steps}
            _write_ranges(errand, readers, writer, steps, left)
    return (*earlier, worker)


def _standing(writer: AttachedWriter, earlier: Mapping[str, Sequence[Entry]]) -> Finished:
    """What earlier attempts at a lot wrote and noted, and what can be read back."""
    entries: dict[str, list[Entry]] = {}
    for entry in disjoint(entry for noted in earlier.values() for entry in noted if writer.holds(entry)):
        entries.setdefault(entry.tensor, []).append(entry)
    return Finished(entries)


def _write_ranges(
    errand: Errand,
    readers: Sequence[Reader],
    writer: AttachedWriter,
    steps: Sequence[Step],
    left: Mapping[str, Sequence[Range]],
) -> None:
    part = replace(errand.plan, steps=tuple(step for step in steps if left[step.out.name]), tied=())
    workers = fit_workers(part, errand.limit, errand.threads, errand.tile)
    write_ranges(
        part,
        readers,
        writer,
        methods.get(part.recipe.method),
        left,
        seed=errand.seed,
        threads=workers.threads,
        tile=workers.tile,
        allow_nonfinite=errand.allow_nonfinite,
        kernels=errand.kernels,
        journal=writer,
        whole=errand.whole,
    )


@contextmanager
def _models(errand: Errand) -> Iterator[list[Reader]]:
    """The models, opened where this worker is; they could be opened where the run began.

    Raises:
        InputError: the faults of all that cannot be, each saying on which machine.
    """
    faults: list[Fault] = []
    with ExitStack() as stack:
        readers: list[Reader] = []
        for facts in errand.plan.models:
            try:
                readers.append(open_checkpoint(facts.ref.whole, errand.root))
                stack.callback(readers[-1].close)
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError(_here(fault) for fault in faults)
        yield as_asked(errand.plan.recipe, readers, lambda ref: stack.enter_context(closing(_opened(ref, errand))))


def _opened(ref: ModelRef, errand: Errand) -> Reader:
    return open_giver(ref, errand.root, hub_download=True)


def _here(fault: Fault) -> Fault:
    return replace(fault, message=f"on the worker {platform.node()}: {fault.message}", hint=SHARE)


def _check_same(errand: Errand, readers: Sequence[Reader]) -> None:
    """Refuse to work with other files, or other versions, than the run that will publish.

    Raises:
        ResourceError: `worker-mismatch`.
    """
    job = describe(errand.plan, readers, errand.layout, seed=errand.seed, allow_nonfinite=errand.allow_nonfinite)
    faults = [
        Fault("worker-mismatch", _unlike(part, listed(how)), None, part, _REMEDIES.get(part, SHARE))
        for part, how in job_differences(errand.job, job).items()
    ]
    if faults:
        raise ResourceError(faults)


_REMEDIES: Final = {"versions": "install the same versions on all machines of the cluster"}


def _unlike(part: str, how: str) -> str:
    what = {"versions": "has other versions", "inputs": "sees another input"}.get(part, "would do something else")
    return f"the worker {platform.node()} {what} than the run: {how}"


def _check_seen(*paths: Path) -> None:
    """Say what must be shared where a worker does not find what the run has opened or made.

    Raises:
        ResourceError: `not-shared`, for everything that it does not find.
    """
    where = platform.node()
    faults = [
        Fault("not-shared", f"the worker {where} does not see {path}", None, str(path), SHARE)
        for path in paths
        if not path.exists()
    ]
    if faults:
        raise ResourceError(faults)
