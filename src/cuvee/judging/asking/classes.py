"""Texts put into classes, or given a number, by sequence classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from cuvee.data.fit import class_number, foreign_label
from cuvee.data.rows import MOST_FAULTS
from cuvee.data.tables import place_in
from cuvee.errors import Fault, InputError
from cuvee.families.inputs import classes_of, padding_token
from cuvee.judging.asking.asked import Asked, Columns
from cuvee.judging.asking.encoding import check_tokens, cut_note, limit_of, padded, padding_of
from cuvee.judging.asking.subject import Subject, check_asked, tokenizer_of
from cuvee.judging.tasks.model import ImageOptions, Task, TextOptions


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text, or a pair of them, as a classifier reads it; `types` say which of the two a token belongs to."""

    ids: tuple[int, ...]
    types: tuple[int, ...] | None = None


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of a `classification` or a `regression` for a model."""
    options = task.options
    assert isinstance(options, TextOptions)
    tokenizer = tokenizer_of(subject, task)
    check_asked(subject, task)
    is_number = task.kind == "regression"
    if is_number:
        _check_number(subject, task)
        names: tuple[str, ...] = ()
        truth = np.array([row.values["label"] for row in task.rows], dtype=np.float64)
    else:
        names, truth = classes_and_truth(subject, task, options)
    limit = limit_of(subject, options.max_length)
    encoded, cut = _encoded(task, tokenizer, limit)
    check_tokens(subject, task, [one.ids for one in encoded])
    return Asked(
        kind="regression" if is_number else "classification",
        questions=tuple((one,) for one in encoded),
        width=lambda one: len(one.ids),
        forward=partial(_logits, fill=padding_of(subject) or 0),
        gather=partial(_numbers if is_number else as_probabilities, truth=truth),
        classes=names,
        # a decoder finds the end of a text by the padding that its configuration names
        one_by_one=hasattr(subject.config, "pad_token_id") and padding_token(subject.config) is None,
        notes=cut_note(task, cut, limit),
    )


def classes_and_truth(
    subject: Subject, task: Task, options: TextOptions | ImageOptions
) -> tuple[tuple[str, ...], np.ndarray[Any, Any]]:
    """Names of the model's classes in order, and the number of every row's class.

    Raises:
        InputError: `wrong-model` for one that does not choose among classes, `bad-data` for labels that are none of
            them, up to 20 of those.
    """
    classes = _classes(subject, task, options)
    assert task.data is not None
    numbers, faults = [], []
    for row in task.rows:
        number = _class_of(row.values["label"], classes)
        if number is None:
            message = f"{task.name}, {subject.label}: {foreign_label(row.values['label'], classes)}"
            hint = "`labels` in the task names the model's classes in their order, where its configuration does not"
            faults.append(Fault("bad-data", message, place_in(task.data, row.number), "label", hint))
        numbers.append(number or 0)
    if faults:
        raise InputError(faults[:MOST_FAULTS])
    return tuple(sorted(classes, key=classes.__getitem__)), np.array(numbers, dtype=np.int64)


def _classes(subject: Subject, task: Task, options: TextOptions | ImageOptions) -> Mapping[str, int]:
    config = subject.config
    count = getattr(config, "num_labels", None)
    if count is not None and (
        count < 2 or getattr(config, "problem_type", None) in ("regression", "multi_label_classification")
    ):
        message = f"{task.name} asks models that choose one class of several; {subject.label} does not"
        raise InputError(Fault("wrong-model", message, subject=subject.label))
    if options.labels is None and config is None:
        message = f"{task.name}: {subject.label} has no configuration that names its classes"
        hint = "name them in the task, in the model's order, as `labels`"
        raise InputError(Fault("wrong-model", message, subject=subject.label, hint=hint))
    if options.labels is None:
        return classes_of(config)
    if count not in (None, len(options.labels)):
        message = f"{task.name} names {len(options.labels)} `labels`; {subject.label} has {count} classes"
        raise InputError(Fault("wrong-model", message, subject=subject.label))
    return {name: number for number, name in enumerate(options.labels)}


def _class_of(label: int | str, classes: Mapping[str, int]) -> int | None:
    """The number of a class; in a table of text numbers are written as names are."""
    number = class_number(label, classes)
    if number is None and isinstance(label, str) and label.isascii() and label.isdigit() and len(label) < 10:
        return class_number(int(label), classes)
    return number


def _check_number(subject: Subject, task: Task) -> None:
    if (count := getattr(subject.config, "num_labels", 1)) != 1:
        message = f"{task.name} asks models that answer with one number; {subject.label} has {count} outputs"
        raise InputError(Fault("wrong-model", message, subject=subject.label))


def _encoded(task: Task, tokenizer: Any, limit: int | None) -> tuple[list[Encoded], int]:
    """The texts as token numbers, cut where they are too long, and how many were."""
    made, cut = [], 0
    for row in task.rows:
        texts = [row.values[role] for role in ("text", "pair") if role in row.values]
        found = tokenizer(*texts, verbose=False)
        if limit is not None and len(found["input_ids"]) > limit:
            cut += 1
            found = tokenizer(*texts, truncation=True, max_length=limit)
        types = found.get("token_type_ids")
        made.append(Encoded(tuple(found["input_ids"]), None if types is None else tuple(types)))
    return made, cut


def _logits(model: Any, batch: Sequence[Encoded], *, fill: int) -> list[list[float]]:
    device = next(model.parameters()).device
    ids, mask = padded([one.ids for one in batch], fill, device)
    given = {"input_ids": ids, "attention_mask": mask}
    if any(any(one.types or ()) for one in batch):  # where all are 0, that is what a model takes without them
        given["token_type_ids"] = padded([one.types or (0,) * len(one.ids) for one in batch], 0, device)[0]
    found: list[list[float]] = model(**given).logits.double().tolist()
    return found


def as_probabilities(
    rows: Sequence[int], results: Sequence[Sequence[Any]], _shared: Sequence[Any], *, truth: np.ndarray[Any, Any]
) -> Columns:
    """Softmax of the logits of every row, in float64."""
    logits = torch.tensor([own[0] for own in results], dtype=torch.float64)
    return {
        "truth": truth[np.asarray(rows, dtype=np.int64)],
        "probabilities": torch.softmax(logits, dim=-1).numpy(),
    }


def _numbers(
    rows: Sequence[int], results: Sequence[Sequence[Any]], _shared: Sequence[Any], *, truth: np.ndarray[Any, Any]
) -> Columns:
    predicted = np.array([own[0][0] for own in results], dtype=np.float64)
    return {"truth": truth[np.asarray(rows, dtype=np.int64)], "predicted": predicted}
