"""Rows of a data file as tuning takes them: token ids, classes, two shares that have no row in common, batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee.data.fit import class_number, foreign_label, foreign_token
from cuvee.data.rows import MOST_FAULTS, NO_TARGET, Row, bad_row
from cuvee.errors import Fault, InputError
from cuvee.families.inputs import classes_of, longest_input, padding_token, token_ids
from cuvee.families.running import Running


@dataclass(frozen=True, slots=True)
class Example:
    """A row ready for the model.

    Attributes:
        ids: token ids.
        label: for classifiers, the number of its class.
        targets: for language models, what is to be predicted in the place of each token but the first, or `NO_TARGET`.
    """

    ids: tuple[int, ...]
    label: int | None = None
    targets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on, and rows that are never trained on; no row is in both."""

    training: tuple[Example, ...]
    held: tuple[Example, ...]


def examples(rows: Sequence[Row], running: Running, folder: Path, path: Path, most: int) -> tuple[list[Example], int]:
    """Rows ready for the model, and how many of them were cut.

    Args:
        rows: the rows of a file.
        running: the model.
        folder: its folder, which holds the tokenizer.
        path: the file, for messages.
        most: tokens after which a row is cut; the model's positions cut it too.

    Raises:
        InputError: `bad-data` or `missing-label`, all rows that do not fit; `no-tokenizer`.
    """
    limit = min(most, longest_input(running.config) or most)
    texts = [row.text for row in rows if row.text is not None]
    written = iter(token_ids(folder, texts) if texts else [])
    classes = classes_of(running.config) if running.head == "classification" else None
    found: list[Example] = []
    faults: list[Fault] = []
    cut = 0
    for row in rows:
        ids = row.ids if row.text is None else tuple(next(written))
        label = None if classes is None else class_number(row.label, classes)
        made = Example(ids[:limit], label, (row.targets or ids)[1:limit] if classes is None else ())
        faults += _unfit(row, ids, made, running.vocabulary, classes, path)
        cut += len(ids) > limit
        found.append(made)
    if faults:
        raise InputError(faults[:MOST_FAULTS])
    return found, cut


def _unfit(
    row: Row, ids: Sequence[int], made: Example, vocabulary: int, classes: Mapping[str, int] | None, path: Path
) -> Iterator[Fault]:
    least = 2 if classes is None else 1
    if why := foreign_token([*ids, *row.targets], vocabulary):
        yield bad_row(path, row.line, why)
    if len(ids) < least:
        yield bad_row(path, row.line, f"a row should come to {least} tokens or more; found {len(ids)}")
    elif classes is None and not any(target != NO_TARGET for target in made.targets):
        yield bad_row(path, row.line, f"`labels` should name a token to predict among the first {len(made.ids)}")
    if classes is not None and row.label is None:
        message = f"{path}: a classifier is tuned on rows with a `label`; line {row.line} has none"
        yield Fault("missing-label", message, bad_row(path, row.line, "").place, str(path))
    elif classes is not None and made.label is None:
        yield bad_row(path, row.line, foreign_label(row.label, classes))


def split(rows: Sequence[Example], share: float, seed: int, path: Path) -> Split:
    """Keep a share of the rows aside, drawn from a seed; copies of one row are on one side.

    Args:
        rows: all rows, in order.
        share: of the different rows, [0, 1); rounded, at least 2 of them where it is not 0.
        seed: of the draw.
        path: the file, for messages.

    Raises:
        InputError: `bad-data`: too few different rows for both sides.
    """
    different = list(dict.fromkeys(rows))
    count = max(2, round(share * len(different))) if share else 0
    if len(different) - count < 1:
        message = f"{path}: {count} rows are held out and one or more trained on; {len(different)} differ"
        raise InputError(Fault("bad-data", message, subject=str(path), hint="give more rows, or --holdout 0"))
    held = set(random.Random(f"{seed}/holdout").sample(different, count))
    return Split(tuple(row for row in rows if row not in held), tuple(row for row in different if row in held))


def batches(rows: Sequence[Example], size: int, seed: int) -> Iterator[list[Example]]:
    """Batches without end: rows in an order drawn from a seed, in another one each time they are through."""
    rng = random.Random(f"{seed}/order")
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for start in range(0, len(order), size):
            yield [rows[i] for i in order[start : start + size]]


def check_head(running: Running, label: str, batch_size: int) -> None:
    """Refuse what the loop has no loss for, and classifiers that could not tell where a row ends.

    Raises:
        InputError: `not-yet` or `bad-config`.
    """
    if running.head not in ("causal-lm", "classification"):
        what = type(running.model).__name__
        message = f"{label}: causal language models and text classifiers are tuned; {what} is neither"
        raise InputError(Fault("not-yet", message, subject=label))
    if running.head == "classification":
        _check_classes(running.config, label, batch_size)


def _check_classes(config: Any, label: str, batch_size: int) -> None:
    kind = config.problem_type
    if config.num_labels < 2 or kind not in (None, "single_label_classification"):
        message = f"{label} should choose one of several classes; it has {config.num_labels} outputs for {kind}"
        raise InputError(Fault("not-yet", message, subject=label))
    if padding_token(config) is None and batch_size > 1:
        message = f"{label} should name its padding token in config.json, to tell where a row ends; it names none"
        hint = "set `pad_token_id` there, or tune with --batch-size 1"
        raise InputError(Fault("bad-config", message, subject=label, hint=hint))
