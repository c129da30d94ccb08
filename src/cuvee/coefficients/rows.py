"""Rows of data files as learning takes them: by expert, cut to the model's length, in batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cuvee.data.fit import class_number, foreign_label, foreign_token
from cuvee.data.rows import MOST_FAULTS, Row, bad_row, read_rows
from cuvee.errors import Fault, InputError, attempt


@dataclass(frozen=True, slots=True)
class Example:
    """A row ready for the model: token ids and, for classification with labels, the number of its class."""

    ids: tuple[int, ...]
    label: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One data set.

    Attributes:
        name: the model that it belongs to as the recipe writes it, or `all`.
        path: its file.
        experts: numbers of the models whose data it is.
        rows: its rows.
    """

    name: str
    path: Path
    experts: tuple[int, ...]
    rows: tuple[Row, ...]


def read_tasks(files: Sequence[tuple[str, Path, tuple[int, ...]]]) -> list[Task]:
    """Read data files.

    Args:
        files: name, file and experts of every data set.

    Raises:
        InputError: with the faults of all files, `data-missing` or `bad-data`.
    """
    faults: list[Fault] = []
    read = [attempt(lambda path=path: read_rows(path), faults) for _, path, _ in files]  # type: ignore[misc]
    if faults:
        raise InputError(faults)
    return [Task(*file, rows or ()) for file, rows in zip(files, read, strict=True)]


def examples(
    task: Task,
    tokenize: Callable[[Sequence[str]], list[list[int]]],
    *,
    vocabulary: int,
    classes: Mapping[str, int] | None,
    least: int,
    most: int,
) -> tuple[list[Example], int]:
    """Rows ready for the model.

    Args:
        task: the data set.
        tokenize: from texts to token ids.
        vocabulary: rows of the embedding.
        classes: number of every class by name, where labels are used.
        least: fewest tokens that mean anything, 2 where the next one is predicted.
        most: tokens after which a row is cut.

    Returns:
        The examples, and how many rows were cut.

    Raises:
        InputError: `bad-data`: ids outside the vocabulary, too few of them, a class that the model does not have.
    """
    texts = [row.text for row in task.rows if row.text is not None]
    written = iter(tokenize(texts) if texts else [])
    found, faults, cut = [], [], 0
    for row in task.rows:
        ids = row.ids if row.text is None else tuple(next(written))
        label = None if classes is None else class_number(row.label, classes)
        why = list(_unfit(row, ids, label, vocabulary, classes, least))
        faults += [bad_row(task.path, row.line, message) for message in why]
        cut += len(ids) > most
        found.append(Example(ids[:most], label))
    if faults:
        raise InputError(faults[:MOST_FAULTS])
    return found, cut


def _unfit(
    row: Row, ids: Sequence[int], label: int | None, vocabulary: int, classes: Mapping[str, int] | None, least: int
) -> Iterator[str]:
    if why := foreign_token(ids, vocabulary):
        yield why
    if len(ids) < least:
        yield f"a row should come to {least} tokens or more; found {len(ids)}"
    if classes is not None and label is None:
        yield foreign_label(row.label, classes)


def batches(rows: Sequence[Example], size: int, seed: str) -> Iterator[list[Example]]:
    """Batches without end: rows in an order drawn from a seed, in another one each time they are through.

    The last batch of a round may be smaller; a data set smaller than a batch is one batch.
    """
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for start in range(0, len(order), size):
            yield [rows[i] for i in order[start : start + size]]
