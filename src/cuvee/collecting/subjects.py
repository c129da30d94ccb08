"""Models and their data, loaded and checked before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cuvee.checkpoint import Reader
from cuvee.checkpoint.statistics import Kind
from cuvee.collecting.fisher import Labels
from cuvee.collecting.samples import Batch, Sample, batches_of, samples_of
from cuvee.collecting.weights import OnDisk, on_disk
from cuvee.data.rows import read_rows
from cuvee.errors import Fault, InputError, attempt, listed
from cuvee.execute.adapters import folder_of
from cuvee.families.inputs import load_tokenizer, padding_token
from cuvee.families.running import Running, load


@dataclass(frozen=True, slots=True)
class Settings:
    """What is collected, and how.

    Attributes:
        kind: `gram` or `fisher`.
        column: column or key of the texts.
        max_samples: most samples of the data, from its start.
        max_length: most tokens of a sample.
        batch_size: samples run at once for `gram`; `None` puts samples of one length together.
        labels: what a Fisher predicts: the data's labels, or the model's own guesses.
        seed: of masks and guesses.
        alpha, ridge: as RegMean++ solves on its way.
    """

    kind: Kind
    column: str | None = None
    max_samples: int = 256
    max_length: int = 512
    batch_size: int | None = None
    labels: Labels = "data"
    seed: int = 0
    alpha: float = 0.9
    ridge: float = 0.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its data, ready to be run."""

    reader: Reader
    data: Path
    running: Running
    names: OnDisk
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]

    def batches(self, size: int | None) -> list[Batch]:
        """Its samples in batches; a classifier without a padding token takes one at a time."""
        padding = padding_token(self.running.config)
        one_by_one = self.running.head == "classification" and padding is None
        return list(batches_of(self.samples, 1 if one_by_one else size, padding))


def subjects_of(readers: Sequence[Reader], data: Sequence[Path], settings: Settings) -> list[Subject]:
    """Load models and data; everything that is wrong with any of them is told at once.

    Raises:
        InputError: faults of all data files, or else of all models.
    """
    faults: list[Fault] = []
    for path in dict.fromkeys(data):
        attempt(lambda path=path: read_rows(path, settings.max_samples, settings.column), faults)  # type: ignore[misc]
    if faults:
        raise InputError(faults)
    found = [
        attempt(lambda reader=reader, path=path: _subject(reader, path, settings), faults)  # type: ignore[misc]
        for reader, path in zip(readers, data, strict=True)
    ]
    if faults:
        raise InputError(faults)
    return [subject for subject in found if subject is not None]


def _subject(reader: Reader, data: Path, settings: Settings) -> Subject:
    folder = folder_of(reader, "collecting")
    running = load(folder)
    if settings.kind == "fisher" and running.head == "none":
        message = f"{reader.label}: a Fisher needs a likelihood; {type(running.model).__name__} predicts nothing"
        hint = "give a model with its head, or collect `gram`"
        raise InputError(Fault("no-statistic", message, subject=reader.label, hint=hint))
    tokenizer = load_tokenizer(folder)
    rows = read_rows(data, settings.max_samples, settings.column)
    samples, notes = samples_of(rows, running, tokenizer, data, max_length=settings.max_length, seed=settings.seed)
    _check_labels(running, samples, data, settings)
    return Subject(reader, data, running, on_disk(running, reader.specs), samples, notes)


def _check_labels(running: Running, samples: Sequence[Sample], data: Path, settings: Settings) -> None:
    """Refuse a Fisher of a classifier whose answers are no classes or are not there."""
    if settings.kind != "fisher" or running.head != "classification":
        return
    if running.config.num_labels < 2 or running.config.problem_type in ("regression", "multi_label_classification"):
        message = "a Fisher is collected of classifiers of one class out of several; this one is of another kind"
        raise InputError(Fault("not-yet", message))
    lacking = [sample.line for sample in samples if sample.label is None]
    if settings.labels == "data" and lacking:
        lines = listed(map(str, lacking))
        message = f"{data}: every line should have a `label`; lines {lines} have none"
        raise InputError(Fault("bad-data", message, subject=str(data), hint="or take the model's own: --labels model"))
