"""Data files: JSON lines with `text` or `input_ids`, and `label` where one is needed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, InputError, Place, listed

MOST_FAULTS: Final = 20
"""Rows told of; a file of another kind is wrong in every line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a data file.

    Attributes:
        line: its number, from 1.
        text: a text to be tokenised, `None` where there are ids.
        ids: token ids.
        label: the class, as a number or by its name in the configuration.
    """

    line: int
    text: str | None = None
    ids: tuple[int, ...] = ()
    label: int | str | None = None


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
        InputError: with the faults of all files: `data-missing`, `data-empty`, `bad-row`.
    """
    faults: list[Fault] = []
    tasks = [Task(name, path, experts, tuple(_read(path, faults))) for name, path, experts in files]
    if faults:
        raise InputError(faults)
    return tasks


def _read(path: Path, faults: list[Fault]) -> list[Row]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        message = f"the data file {path} cannot be read: {error.strerror or error}"
        faults.append(Fault("data-missing", message, subject=str(path), hint="check the path"))
        return []
    rows: list[Row] = []
    wrong: list[Fault] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            row, why = _row(number, line)
            rows += [] if row is None else [row]
            wrong += [] if why is None else [_fault(path, number, why)]
    if not rows and not wrong:
        message = f"{path} should hold at least one row of JSON; it is empty"
        wrong.append(Fault("data-empty", message, subject=str(path)))
    faults += wrong[:MOST_FAULTS]
    return rows


def _fault(path: Path, line: int, message: str) -> Fault:
    hint = 'a row is `{"text": "…"}` or `{"input_ids": […]}`, with `"label"` for cross-entropy on classes'
    return Fault("bad-row", message, Place(str(path), line, 1), str(path), hint)


def _row(number: int, line: bytes) -> tuple[Row | None, str | None]:
    """A row, or what is wrong with it."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"a row should be one JSON object; it cannot be read: {error}"
    if not isinstance(data, Mapping):
        return None, f"a row should be a JSON object; found {type(data).__name__}"
    text, ids, label = data.get("text"), data.get("input_ids"), data.get("label")
    if (text is None) == (ids is None):
        found = "both" if text is not None else listed(map(str, data)) or "neither"
        return None, f"a row should have either `text` or `input_ids`; found {found}"
    if text is not None and not (isinstance(text, str) and text):
        return None, "`text` should be a text that is not empty"
    if ids is not None and not _are_ids(ids):
        return None, "`input_ids` should be a list of one or more integers from 0 up"
    if isinstance(label, bool) or not isinstance(label, int | str | None):
        return None, f"`label` should be the number or the name of a class; found {label!r}"
    return Row(number, text, tuple(ids or ()), label), None


def _are_ids(ids: Any) -> bool:
    return (
        isinstance(ids, list)
        and bool(ids)
        and all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids)
    )


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
        InputError: `bad-row`: ids outside the vocabulary, too few of them, a class that the model does not have.
    """
    texts = [row.text for row in task.rows if row.text is not None]
    written = iter(tokenize(texts) if texts else [])
    found, faults, cut = [], [], 0
    for row in task.rows:
        ids = row.ids if row.text is None else tuple(next(written))
        label = _class_of(row.label, classes)
        why = list(_unfit(row, ids, label, vocabulary, classes, least))
        faults += [_fault(task.path, row.line, message) for message in why]
        cut += len(ids) > most
        found.append(Example(ids[:most], label))
    if faults:
        raise InputError(faults[:MOST_FAULTS])
    return found, cut


def _class_of(label: int | str | None, classes: Mapping[str, int] | None) -> int | None:
    if classes is None or label is None:
        return None
    number = classes.get(label) if isinstance(label, str) else label
    return number if number in classes.values() else None


def _unfit(
    row: Row, ids: Sequence[int], label: int | None, vocabulary: int, classes: Mapping[str, int] | None, least: int
) -> Iterator[str]:
    if ids and max(ids) >= vocabulary:
        yield f"token ids should be below {vocabulary}, the model's vocabulary; found {max(ids)}"
    if len(ids) < least:
        yield f"a row should come to {least} tokens or more; found {len(ids)}"
    if classes is not None and label is None:
        known = listed(sorted(classes, key=classes.__getitem__))
        yield f"`label` should be one of the {len(classes)} classes ({known}) or its number; found {row.label!r}"


def batches(rows: Sequence[Example], size: int, seed: str) -> Iterator[list[Example]]:
    """Batches without end: rows in an order drawn from a seed, in another one each time they are through.

    The last batch of a round may be smaller; a data set smaller than a batch is one batch.
    """
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for start in range(0, len(order), size):
            yield [rows[i] for i in order[start : start + size]]
