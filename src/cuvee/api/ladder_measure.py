"""How a ladder judges: rows divided once, one figure for answers on all tasks, and the time of a row."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from cuvee.errors import Fault, InputError

if TYPE_CHECKING:
    from cuvee.judging.answers import Answers
    from cuvee.judging.metrics import Metric
    from cuvee.judging.tasks import Task

LEAST: Final = 4
"""The fewest rows of a task: two to choose on and two to judge on."""
_TIMES: Final = 3
"""How often a row is timed, after once that is not."""

OnTasks = Mapping[str, "Answers"]


@dataclass(frozen=True)
class Parts:
    """The rows of every task, by their ids, that things are chosen on and that rungs are judged on."""

    chosen: Mapping[str, frozenset[str]]
    judged: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, answers: OnTasks, holdout: float, seed: int) -> Parts:
        """Divide the rows of every task by the seed.

        Raises:
            InputError: `too-few-rows`, for all tasks.
        """
        few = {task: len(one) for task, one in answers.items() if len(one) < LEAST}
        if few:
            hint = "one part of the rows is chosen on, the other judged on"
            raise InputError(
                [
                    Fault("too-few-rows", f"{task} should have {LEAST} rows or more; it has {n}", None, task, hint)
                    for task, n in few.items()
                ]
            )
        judged = {}
        for task, one in answers.items():
            order = sorted(one.ids)
            random.Random(f"{seed}/ladder/{task}").shuffle(order)
            count = min(len(order) - 2, max(2, round(holdout * len(order))))
            judged[task] = frozenset(order[:count])
        return cls({task: frozenset(one.ids) - judged[task] for task, one in answers.items()}, judged)

    def to_choose(self, answers: OnTasks) -> dict[str, Answers]:
        """The answers on the rows that things are chosen on."""
        return {task: _on(one, self.chosen[task]) for task, one in answers.items()}

    def to_judge(self, answers: OnTasks) -> dict[str, Answers]:
        """The answers on the rows that rungs are judged on."""
        return {task: _on(one, self.judged[task]) for task, one in answers.items()}


def _on(answers: Answers, ids: frozenset[str]) -> Answers:
    return answers.take([place for place, name in enumerate(answers.ids) if name in ids])


@dataclass(frozen=True)
class Measure:
    """One figure for answers on all tasks, larger is better: the mean gain of one metric, or the mean share of a unit.

    Attributes:
        metrics: task → its metric.
        units: task → the score that counts as one there; `None` where all tasks have one metric.
    """

    metrics: Mapping[str, Metric]
    units: Mapping[str, float] | None = None

    def __call__(self, answers: OnTasks) -> float:
        """The figure.

        Raises:
            InputError: `undefined-metric`.
        """
        return sum(self.of_task(task, one) for task, one in answers.items()) / len(answers)

    def of_task(self, task: str, answers: Answers) -> float:
        """The figure of one task.

        Raises:
            InputError: `undefined-metric`.
        """
        from cuvee.judging.metrics import score_of

        score = score_of(answers, self.metrics[task])
        if self.units is None:
            return score.gain
        unit = self.units[task]
        above, below = (score.value, unit) if score.direction == "higher" else (unit, score.value)
        if below <= 0:
            message = f"{task}: scores cannot be told as shares of {unit:g} by `{score.metric}`"
            hint = "take tasks of one metric, or another metric"
            raise InputError(Fault("undefined-metric", message, subject=task, hint=hint))
        return above / below


def measure_of(metrics: Mapping[str, Metric], singles: Sequence[OnTasks]) -> Measure:
    """The figure that models are chosen by; its units are the best scores of single models.

    Raises:
        InputError: `undefined-metric`.
    """
    from cuvee.judging.metrics import score_of

    if len({metric.name for metric in metrics.values()}) == 1:
        return Measure(metrics)
    best = {}
    for task, metric in metrics.items():
        scores = [score_of(answers[task], metric) for answers in singles]
        best[task] = max(scores, key=lambda score: score.gain).value
    return Measure(metrics, best)


def seconds_per_row(evaluate: Callable[..., Any], systems: Mapping[str, Any], tasks: Sequence[Task]) -> float:
    """The time of a row on warm calls: of each task the median of several runs, and of those the mean.

    Args:
        evaluate: asks models, keeping nothing.
        systems: task → the model that answers it.
        tasks: what is asked, a few rows of each.

    Raises:
        CuveeError: a model cannot be asked.
    """
    times = []
    for model, several in _by_model(systems, tasks):
        again = [replace(one, name=f"{one.name} {run}") for run in range(_TIMES + 1) for one in several]
        made = evaluate({"timed": model}, again, cache=False)
        made.check()
        taken = {one.task: one.seconds / max(1, one.scores[0].n) for one in made.judged}
        times += [median(taken[f"{one.name} {run}"] for run in range(1, _TIMES + 1)) for one in several]
    return math.fsum(times) / len(times)


def _by_model(systems: Mapping[str, Any], tasks: Sequence[Task]) -> list[tuple[Any, list[Task]]]:
    """Every model with the tasks that it answers, so that it is loaded once."""
    found: dict[int, tuple[Any, list[Task]]] = {}
    for task in tasks:
        found.setdefault(id(systems[task.name]), (systems[task.name], []))[1].append(task)
    return list(found.values())
