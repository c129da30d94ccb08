"""One model on one task: from the cache, or asked; its scores, and what should be known of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cuvee.errors import CuveeError, Fault, InputError, is_out_of_memory
from cuvee.judging import caching
from cuvee.judging.answering import answers_of, prepare
from cuvee.judging.answers import Answers
from cuvee.judging.asking.batching import Follow
from cuvee.judging.asking.subject import Answering, Subject
from cuvee.judging.scoring import scores_of
from cuvee.judging.tasks.model import Task
from cuvee.types.scores import Score


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model came to on a task.

    Attributes:
        model: what the model is called.
        task: what the task is called.
        scores: a score for each metric, the task's first one first.
        answers: the answers, row by row; `None` of lm-eval, which gives none.
        seconds: what asking took; NaN where the answers were kept from before.
        cached: whether they were.
        notes: what should be known, rows that were cut for one.
    """

    model: str
    task: str
    scores: tuple[Score, ...]
    answers: Answers | None
    seconds: float
    cached: bool = False
    notes: tuple[str, ...] = ()


def judge(
    label: str,
    task: Task,
    subject: Callable[[], Subject | Answering],
    *,
    entry: str | None,
    batch_size: int | None = None,
    follow: Follow | None = None,
) -> Judged:
    """Judge a model, unless it is known what it answers.

    Answers are kept before they are scored: a metric that fails loses nothing.

    Args:
        label: what the model is called.
        task: the task.
        subject: loads the model when it is needed.
        entry: name that its answers are kept under; without one nothing is looked up or kept.
        batch_size: rows run at once.
        follow: told how far it is.

    Raises:
        InputError, UsageError, ResourceError: the model does not fit or fails, or a metric is no number.
    """
    kept = None if entry is None else caching.load(entry)
    if kept is not None:
        return _judged(label, task, kept[0], float("nan"), cached=True, notes=kept[1])
    asked = subject()
    start = time.perf_counter()
    try:
        found, notes = _found(asked, task, batch_size, follow)
    except CuveeError:
        raise
    except Exception as error:  # whatever the code of a model does with inputs that it was not made for
        if is_out_of_memory(error):
            raise
        raise InputError(_failed(label, task, error)) from error
    seconds = time.perf_counter() - start
    if entry is not None:
        caching.store(entry, found, notes)
    return _judged(label, task, found, seconds, notes=notes)


def _failed(label: str, task: Task, error: Exception) -> Fault:
    said = " ".join(str(error).split())[:300]
    message = f"{task.name}: {label} failed while it was asked: {type(error).__name__}: {said}"
    return Fault("task-crashed", message, subject=task.name, hint="scores found before it are kept")


def _found(
    asked: Subject | Answering, task: Task, batch_size: int | None, follow: Follow | None
) -> tuple[Answers | tuple[Score, ...], tuple[str, ...]]:
    if isinstance(asked, Answering):
        return asked.answers(task)
    if task.kind == "lm-eval":
        from cuvee.judging.lm_evaluation import scores_by_lm_eval

        return scores_by_lm_eval(asked, task, batch_size), ()
    if task.kind == "function":
        return answers_of(asked, task), ()
    ready = prepare(task, asked)
    return answers_of(asked, task, None, batch_size, asked=ready, follow=follow), ready.notes


def _judged(
    label: str,
    task: Task,
    found: Answers | tuple[Score, ...],
    seconds: float,
    *,
    cached: bool = False,
    notes: tuple[str, ...] = (),
) -> Judged:
    if not isinstance(found, Answers):
        return Judged(label, task.name, _chosen(found, task), None, seconds, cached, notes)
    return Judged(label, task.name, scores_of(found, task, label), found, seconds, cached, notes)


def _chosen(found: tuple[Score, ...], task: Task) -> tuple[Score, ...]:
    """The scores of lm-eval that the task names, or all of them."""
    from cuvee.judging.lm_evaluation import chosen

    return chosen(found, task)
