"""A model and its data in, a file of statistics out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cuvee.checkpoint import Reader, content_hash
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.checkpoint.statistics import Kind, write_statistics
from cuvee.collecting import fisher, gram
from cuvee.collecting.found import Found, check_found, fishers_of, grams_of
from cuvee.collecting.samples import token_count
from cuvee.collecting.subjects import Settings, Subject
from cuvee.collecting.through import check_alike, gather_through, steps_of
from cuvee.collecting.weights import linears
from cuvee.types import TensorSpec

Follow = Callable[[int, int, str], None]
"""Told what is done, of how much, and what it is at."""


@dataclass(frozen=True, slots=True)
class Collected:
    """One file of statistics that was written.

    Attributes:
        path: the file.
        model: the model as it was named.
        kind: `gram` or `fisher`.
        head: what the model predicts.
        tensors: on-disk names of the tensors that have a statistic.
        without: on-disk name of every other tensor → why it has none.
        rows: rows that the means are over: tokens for `gram`, samples for `fisher`.
        samples: samples that were run.
        tokens: tokens in them.
        nbytes: bytes of the file.
        notes: what should be known of data and model.
    """

    path: Path
    model: str
    kind: Kind
    head: str
    tensors: tuple[str, ...]
    without: Mapping[str, str]
    rows: int
    samples: int
    tokens: int
    nbytes: int
    notes: tuple[str, ...]


def collect(
    subjects: Sequence[Subject],
    outs: Sequence[Path],
    settings: Settings,
    *,
    through: bool,
    overwrite: bool,
    follow: Follow | None = None,
) -> tuple[Collected, ...]:
    """Collect the statistics of every model and write them.

    Args:
        subjects: the models with their data.
        outs: the file for each.
        settings: what and how.
        through: whether the Gram matrices are those of RegMean++.
        overwrite: whether files of statistics that are there may be replaced.
        follow: told samples that were run and their number.

    Raises:
        InputError: there is nothing to collect, or numbers that are not finite came out.
    """
    if through:
        found = _found_through(subjects, settings, follow)
    else:
        found = [_found(subject, settings, follow) for subject in subjects]
    for subject, own in zip(subjects, found, strict=True):
        check_found(subject, own, settings.kind)
    contents = [_content(subject.reader) for subject in subjects]
    way = {"alpha": settings.alpha, "ridge": settings.ridge, "models": contents}
    made = []
    for number, (subject, own, out) in enumerate(zip(subjects, found, outs, strict=True)):
        extra = {"through_merged": json.dumps({**way, "this": number})} if through else {}
        metadata = {**_metadata(subject, own, settings), "model_content": contents[number], **extra}
        made.append(_write(subject, own, out, settings.kind, metadata, overwrite))
    return tuple(made)


def _found(subject: Subject, settings: Settings, follow: Follow | None) -> Found:
    meter = _Counted(follow, len(subject.samples), subject.reader.label)
    if settings.kind == "gram":
        batches = subject.batches(settings.batch_size)
        return grams_of(subject, gram.gather(subject.running, linears(subject.running.model), batches, after=meter))
    sums = fisher.gather(subject.running, subject.samples, labels=settings.labels, seed=settings.seed, after=meter)
    return fishers_of(subject, sums)


def _found_through(subjects: Sequence[Subject], settings: Settings, follow: Follow | None) -> list[Found]:
    data = [subject.batches(settings.batch_size) for subject in subjects]
    running = [subject.running for subject in subjects]
    check_alike(running)
    steps = steps_of(running[0], data[0][0])
    meter = _Counted(follow, len(steps) * sum(len(subject.samples) for subject in subjects), "layer by layer")
    moments = gather_through(running, data, steps, alpha=settings.alpha, ridge=settings.ridge, after=meter)
    return [grams_of(subject, own) for subject, own in zip(subjects, moments, strict=True)]


class _Counted:
    """Adds up samples for whoever follows."""

    def __init__(self, follow: Follow | None, total: int, detail: str) -> None:
        self._follow, self._total, self._detail, self._done = follow, total, detail, 0

    def __call__(self, samples: int) -> None:
        self._done += samples
        if self._follow is not None:
            self._follow(self._done, self._total, self._detail)


def _write(
    subject: Subject, found: Found, out: Path, kind: Kind, metadata: Mapping[str, str], overwrite: bool
) -> Collected:
    subject.reader.check_unchanged()
    specs = [TensorSpec(name, "float32", tuple(value.shape)) for name, value in found.means.items()]
    nbytes = write_statistics(out, kind, specs, found.means, metadata, overwrite=overwrite)
    return Collected(
        path=out,
        model=subject.reader.label,
        kind=kind,
        head=subject.running.head,
        tensors=tuple(found.means),
        without=found.without,
        rows=int(metadata["rows"]),
        samples=len(subject.samples),
        tokens=token_count(subject.samples),
        nbytes=nbytes,
        notes=(*subject.reader.notes, *subject.notes, *found.notes),
    )


def _metadata(subject: Subject, found: Found, settings: Settings) -> dict[str, str]:
    """What the file says of itself: everything that the numbers depend on, and no time and no machine."""
    tokens = token_count(subject.samples)
    rows = tokens if settings.kind == "gram" else len(subject.samples)
    return {
        "rows": str(rows),
        "samples": str(len(subject.samples)),
        "tokens": str(tokens),
        "rows_per_tensor": json.dumps({name: own for name, own in found.rows.items() if own != rows}),
        "transposed": json.dumps(sorted(found.transposed)),
        "model": subject.reader.label,
        "data": subject.data.name,
        "data_xxh3_128": digest_file(subject.data),
        "head": subject.running.head,
        "labels": settings.labels if settings.kind == "fisher" else "",
        "max_samples": str(settings.max_samples),
        "max_length": str(settings.max_length),
        "seed": str(settings.seed),
        "arithmetic": "activations and gradients float32, sums float64",
        "dtype": "float32",
        **{f"version_{name}": version(name) for name in ("cuvee", "torch", "transformers")},
    }


def _content(reader: Reader) -> str:
    """The fingerprint of the whole model, as `cuvee.json` has it."""
    return content_hash({name: (spec, reader.digest(name)) for name, spec in reader.specs.items()})
