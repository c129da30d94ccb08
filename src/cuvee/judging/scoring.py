"""Scores of tasks: of answers by metrics, and of models in memory for whoever searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cuvee.checkpoint.fingerprint import digest_bytes
from cuvee.errors import Fault, InputError, UsageError
from cuvee.judging.answering import answers_of, prepare
from cuvee.judging.answers import Answers
from cuvee.judging.asking.asked import Asked
from cuvee.judging.asking.batching import Follow
from cuvee.judging.asking.subject import Subject, config_text
from cuvee.judging.caching import digest_of_task
from cuvee.judging.metrics import metrics_for, score_of
from cuvee.judging.metrics.outcomes import MEAN
from cuvee.judging.tasks.model import FunctionOptions, Task
from cuvee.types.scores import Score

PARSED = "parsed"
"""The metric that says how many answers have the form that is asked for."""
LIKELIHOOD = ("perplexity", "bits_per_byte")
"""What a likelihood is told as: what its task is called, and what models of other vocabularies can be compared by."""


def metrics_of(task: Task, answers: Answers) -> tuple[str, ...]:
    """Names of the metrics of a task: those it names, or its kind's first, and the share that parses."""
    if task.metrics:
        return task.metrics
    if answers.kind == "outcome":
        return ("mean",)
    if task.kind == "perplexity":
        return LIKELIHOOD
    first, *others = metrics_for(answers.kind)
    return (first, PARSED) if PARSED in others and PARSED in answers.columns else (first,)


def scores_of(answers: Answers, task: Task, label: str = "the model") -> tuple[Score, ...]:
    """The scores of answers by a task's metrics.

    Raises:
        InputError: `no-score`: a metric that is NaN or infinite, all of them.
    """
    scores = [_score(answers, metric, task) for metric in metrics_of(task, answers)]
    faults = [_no_score(score, task, label) for score in scores if not math.isfinite(score.value)]
    if faults:
        raise InputError(faults)
    return tuple(scores)


def _score(answers: Answers, metric: str, task: Task) -> Score:
    if answers.kind != "outcome":
        return score_of(answers, metric)
    # what a function says may be called anything: its task says which way is better
    assert isinstance(task.options, FunctionOptions)
    return replace(score_of(answers, MEAN[task.options.direction]), metric=metric)


def _no_score(score: Score, task: Task, label: str) -> Fault:
    message = f"{task.name}: {score.metric} of {label} should be a number; found {score.value} on {score.n} rows"
    hint = "look whether the rows hold more than one class, and whether the model's outputs are finite"
    return Fault("no-score", message, subject=task.name, hint=hint)


def scorer(
    task: Task,
    *,
    tokenizer: Any = None,
    image_processor: Any = None,
    metric: str | None = None,
    batch_size: int | None = None,
) -> TaskScorer:
    """A task that models in memory can be asked again and again.

    Args:
        task: the task.
        tokenizer: of the models, which all share it.
        image_processor: likewise.
        metric: the metric of the score; the task's first without it.
        batch_size: as for `answers`.

    Raises:
        UsageError: a task of lm-eval, which only folders are asked.
    """
    if task.kind == "lm-eval":
        message = f"{task.name}: tasks of lm-eval are asked of whole models by `evaluate`, not scored row by row"
        raise UsageError(Fault("bad-argument", message, subject=task.name))
    return TaskScorer(task, tokenizer, image_processor, metric, batch_size)


@dataclass(eq=False)
class TaskScorer:
    """A `Scorer` of one task; rows are made ready once for all models of one configuration."""

    task: Task
    tokenizer: Any = None
    image_processor: Any = None
    metric: str | None = None
    batch_size: int | None = None
    follow: Follow | None = None

    def __post_init__(self) -> None:
        self._ready: tuple[str, Asked] | None = None

    @property
    def name(self) -> str:
        """What the task is called."""
        return self.task.name

    @property
    def count(self) -> int:
        """Number of its rows; a function without data is one row."""
        return max(1, len(self.task.rows))

    @property
    def content(self) -> str:
        """The fingerprint of what is asked and of the metric that it is judged by."""
        metric = self.metric or next(iter(self.task.metrics), "")
        return digest_bytes(f"{digest_of_task(self.task)} {metric}".encode())

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        """Judge a model.

        Args:
            model: a model of transformers, or what the task's function takes.
            rows: which rows, by number from 0; all without it.

        Raises:
            InputError: the model does not fit, a function failed, or the metric is no number.
        """
        return self.judged(model, rows)[0]

    def judged(self, model: Any, rows: Sequence[int] | None = None) -> tuple[Score, Answers]:
        """The score, and the answers that it is of; arguments and errors as for `score`."""
        found = self.answers(model, rows)
        metric = self.metric or metrics_of(self.task, found)[0]
        score = _score(found, metric, self.task)
        if not math.isfinite(score.value):
            raise InputError(_no_score(score, self.task, "the model"))
        return score, found

    def answers(self, model: Any, rows: Sequence[int] | None = None) -> Answers:
        """What a model answers; arguments as for `score`."""
        subject = Subject("the model", model, self.tokenizer, self.image_processor)
        if self.task.kind == "function":
            return answers_of(subject, self.task, rows if self.task.rows else None)
        ready = self._prepared(subject)
        return answers_of(subject, self.task, rows, self.batch_size, asked=ready, follow=self.follow)

    def _prepared(self, subject: Subject) -> Asked:
        key = f"{type(subject.model).__name__} {config_text(subject.config)}"
        if self._ready is None or self._ready[0] != key:
            self._ready = key, prepare(self.task, subject)
        return self._ready[1]
