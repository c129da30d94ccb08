"""One run of tuning: a model and its rows in, a folder out."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.staging import check_output, find_places
from cuvee.data.rows import Row
from cuvee.execute.adapters import folder_of
from cuvee.execute.origin import Origin, origin_of
from cuvee.families.running import Running, load
from cuvee.tuning.asked import Asked
from cuvee.tuning.chosen import Places, chosen, first_names, places
from cuvee.tuning.learner import Learner, Whole
from cuvee.tuning.loop import Course, Told, descend
from cuvee.tuning.lora import LowRank
from cuvee.tuning.outcome import Figure, TuneResult, figure, gained
from cuvee.tuning.output import check_writable, on_disk, write
from cuvee.tuning.room import check_memory, memory_needed
from cuvee.tuning.rows import Split, check_head, examples, split
from cuvee.types import ModelRef


@dataclass(frozen=True, slots=True)
class Job:
    """A run whose arguments and data file are in order.

    Attributes:
        ref: the model.
        data: the file of the rows.
        rows: its rows.
        content: its fingerprint, when they were read.
        out: the folder to make.
        overwrite: replace a model folder that is there.
        asked: how.
        threads: threads of torch; as many as it takes by itself if not given.
        told: told of every step.
    """

    ref: ModelRef
    data: Path
    rows: Sequence[Row]
    content: str
    out: Path
    overwrite: bool
    asked: Asked
    threads: int | None = None
    told: Told | None = None


def check_free(out: Path, overwrite: bool, protected: Sequence[Path] = ()) -> None:
    """Refuse an output that is there, before any work.

    Raises:
        OutputExists: it is, or must not be replaced.
    """
    with told("look at", out):
        check_output(find_places(out).out, overwrite, protected)


def tune(job: Job, reader: Reader) -> TuneResult:
    """Train, and write what came of it.

    Raises:
        InputError: model or rows do not fit; UsageError: a filter that meets nothing.
        ResourceError: not enough memory or disk.
        CheckFailed: the loss stopped being a number.
        OutputExists: the output is there.
    """
    folder = folder_of(reader, "tuning")
    protected = [folder, job.data]
    check_free(job.out, job.overwrite, protected)
    wanted = chosen(reader.specs, job.asked.only)
    check_memory(reader.label, memory_needed(reader.specs, wanted, job.asked), job.asked.device)
    origin = origin_of(reader, job.ref)
    check_writable(origin, job.out, overwrite=job.overwrite, protected=protected)
    with _set_up(job.asked.seed, job.threads):
        running = load(folder)
        check_head(running, reader.label, job.asked.batch_size)
        rows, cut = examples(job.rows, running, folder, job.data, job.asked.max_length)
        parts = split(rows, job.asked.holdout, job.asked.seed, job.data)
        where = places(running, reader.specs, wanted)
        names = first_names(running.model)
        learner = _learner(running, where, job.asked)
        course = descend(running.model, learner, parts, job.asked, where.dtypes, job.told)
    return _written(job, reader, origin, course, parts, where, names, learner, cut)


def _learner(running: Running, where: Places, asked: Asked) -> Learner:
    running.model.to(asked.device)
    if asked.lora is None:
        return Whole(running.model, where.dtypes)
    made = LowRank(running.model, where.dtypes, asked.lora)
    running.model.to(asked.device)
    return made


def _written(
    job: Job,
    reader: Reader,
    origin: Origin,
    course: Course,
    parts: Split,
    where: Places,
    names: dict[str, str],
    learner: Learner,
    cut: int,
) -> TuneResult:
    changed = on_disk(course.best or {}, where.homes, names)
    changed = {name: value for name, value in changed.items() if name in origin.specs}
    before, after, gain = figure(course.before), figure(course.after), gained(course.before, course.after)
    entry = {
        "of": origin.content,
        "data": job.data.name,
        "content": job.content,
        "rows": len(job.rows),
        "training_rows": len(parts.training),
        "held_rows": len(parts.held),
        "settings": job.asked.settings(),
        "steps": len(course.losses),
        "kept": course.kept,
        **{key: _told(one) for key, one in (("before", before), ("after", after), ("gain", gain)) if one is not None},
        "tensors": sorted(changed),
        "versions": _versions(job.asked),
    }
    protected = [path for path in (reader.folder, job.data) if path is not None]
    record = write(reader, changed, origin, entry, job.out, overwrite=job.overwrite, protected=protected)
    return TuneResult(
        path=job.out,
        before=before,
        after=after,
        gain=gain,
        losses=course.losses,
        checks=course.checks,
        kept=course.kept,
        stopped=course.stopped,
        tensors=tuple(sorted(changed)),
        trained=sum(leaf.numel() for leaf in learner.leaves),
        training_rows=len(parts.training),
        held_rows=len(parts.held),
        record=record,
        notes=(*reader.notes, *where.notes, *origin.notes, *_notes(job, course, cut)),
    )


def _told(one: Figure) -> dict[str, float]:
    return {"loss": one.value, "stderr": one.stderr}


def _notes(job: Job, course: Course, cut: int) -> Iterator[str]:
    if cut:
        yield f"{cut} of {len(job.rows)} rows were cut"
    if course.before is None:
        yield "no rows were held out: whether the model is better for it cannot be told from this run"
    elif course.best is None:
        yield "no state was better on the held-out rows: the output has the weights of the input"


def _versions(asked: Asked) -> dict[str, str]:
    packages = ("cuvee", "torch", "transformers", *(() if asked.lora is None else ("peft",)))
    return {name: importlib.metadata.version(name) for name in packages}


@contextmanager
def _set_up(seed: int, threads: int | None) -> Iterator[None]:
    """Torch's random numbers from a seed, on so many threads; both as they were afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed % 2**63)
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)
