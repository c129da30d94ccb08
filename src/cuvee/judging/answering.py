"""What a model answers on a task, row by row."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, UsageError
from cuvee.judging.answers import Answers
from cuvee.judging.asking.asked import Asked
from cuvee.judging.asking.batching import Follow, run_batched, tokens_for
from cuvee.judging.asking.subject import Subject, at_rest, subject_in
from cuvee.judging.functions import outcomes
from cuvee.judging.tasks.model import Task, TaskKind

_PREPARE: Final[Mapping[TaskKind, str]] = {
    "classification": "classes",
    "regression": "classes",
    "exact-match": "matching",
    "multiple-choice": "choices",
    "perplexity": "likelihood",
    "image-classification": "images",
    "embedding-retrieval": "retrieval",
}
"""The module of `asking` that makes the rows of each kind ready."""


def answers(
    model: Any,
    task: Task,
    rows: Sequence[int] | None = None,
    batch_size: int | None = None,
    *,
    tokenizer: Any = None,
    image_processor: Any = None,
    follow: Follow | None = None,
) -> Answers:
    """Ask a model.

    Args:
        model: a model of transformers in memory, or its folder, which is loaded in float32 on the CPU.
        task: what is asked.
        rows: which rows, by number from 0; all without it.
        batch_size: rows run at once; as many as fit without it. It changes no answer beyond rounding.
        tokenizer: of a model in memory.
        image_processor: likewise.
        follow: told how many rows, and parts of rows, are done, and how many there are.

    Raises:
        InputError: the model is none that the task asks, or the data do not fit it.
        ResourceError: `memory`: one row alone is too much.
    """
    if isinstance(model, str | os.PathLike):
        from cuvee.families.loading import load_folder

        folder = Path(model)
        subject = subject_in(folder, load_folder(folder, dtype="float32", device="cpu"))
    else:
        subject = Subject("the model", model, tokenizer, image_processor)
    return answers_of(subject, task, rows, batch_size, follow=follow)


def answers_of(
    subject: Subject,
    task: Task,
    rows: Sequence[int] | None = None,
    batch_size: int | None = None,
    *,
    asked: Asked | None = None,
    follow: Follow | None = None,
) -> Answers:
    """Ask a model that is ready; `asked` is what `prepare` gave for it, made anew without it."""
    chosen = list(range(len(task.rows))) if rows is None else [int(row) for row in rows]
    _check_rows(task, chosen)
    if task.kind == "function":
        with at_rest(subject.model):
            return outcomes(subject, task, None if rows is None else chosen)
    if task.kind == "lm-eval":
        message = f"{task.name} is a task of lm-eval, which gives scores and no answers"
        raise UsageError(Fault("bad-argument", message, subject=task.name))
    ready = prepare(task, subject) if asked is None else asked
    columns = run(subject, ready, chosen, batch_size, follow)
    groups = {name: tuple(of[row] for row in chosen) for name, of in task.groups.items()}
    ids = tuple(task.rows[row].id for row in chosen)
    return Answers(ready.kind, columns, ids, ready.classes, groups or None)


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of a task ready for a model, everything checked that can be before it runs.

    Raises:
        InputError: the model is none that the task asks, or the data do not fit it.
    """
    module = import_module(f"cuvee.judging.asking.{_PREPARE[task.kind]}")
    made: Callable[[Task, Subject], Asked] = module.prepare
    return made(task, subject)


def run(
    subject: Subject, asked: Asked, rows: Sequence[int], batch_size: int | None = None, follow: Follow | None = None
) -> Any:
    """The columns of the answers on some rows."""
    questions = [question for row in rows for question in asked.questions[row]]
    with at_rest(subject.model):
        results = run_batched(
            [*questions, *asked.shared],
            asked.width,
            lambda batch: asked.forward(subject.model, batch),
            tokens=tokens_for(subject.device.type, asked.vocabulary),
            rows=1 if asked.one_by_one else batch_size,
            follow=follow,
        )
    own, at = [], 0
    for row in rows:
        own.append(results[at : at + len(asked.questions[row])])
        at += len(asked.questions[row])
    return asked.gather(rows, own, results[at:])


def _check_rows(task: Task, rows: Sequence[int]) -> None:
    """Refuse rows that the task does not have, and none at all."""
    if task.rows and (not rows or min(rows) < 0 or max(rows) >= len(task.rows)):
        message = f"`rows` should be numbers from 0 to {len(task.rows) - 1}, at least one; found {list(rows)[:8]}"
        raise UsageError(Fault("bad-argument", message, subject="rows"))
