"""Compare models: every one on every task, against the best parent, with error bars, groups, form and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from cuvee.errors import Fault, UsageError, refuse
from cuvee.judging.bootstrap import USUAL, Difference, Draws, difference_of, differing, gains_of
from cuvee.judging.by_group import group_tables
from cuvee.judging.lined_up import AllAnswers, LinedUp, against_best, known_names, line_up, names_in, share_of
from cuvee.judging.metrics import metric_named
from cuvee.judging.metrics.declared import Array, value_of
from cuvee.judging.standings import Against, Cell, Cost, FormCheck, Standing, Standings

FALL: Final = 0.05
"""By how much the share of answers that parse must fall, besides being more than noise, to be told as a collapse."""


def compare(
    answers: AllAnswers,
    *,
    parents: Sequence[str] = (),
    experts: Mapping[str, str] | None = None,
    metrics: Mapping[str, str] | None = None,
    groups: Sequence[str] = (),
    costs: Mapping[str, Cost] | None = None,
    raw: bool = False,
    how: Draws = USUAL,
    progress: Callable[[int, int, str], None] | None = None,
) -> Standings:
    """Every model on every task.

    Args:
        answers: (model, task) → answers, of every model on every task, on the same rows.
        parents: models that the others are compared with; without them each is compared with the best of all others.
        experts: task → the model whose score is the unit there; the best parent (else the best model) if not given.
        metrics: task → its metric; the usual one of its kind of answers if not given.
        groups: columns of the data to tell the metric by.
        costs: model → what it costs.
        raw: average the metric itself over the tasks, which then must have one metric, instead of shares of experts.
        how: draws, seed, level, kind of interval.
        progress: called with tasks done, their number, and what is being done.

    Raises:
        UsageError: names of models, tasks, metrics or columns that there are not.
        InputError: `bad-answers`: damaged, lacking or not on the same rows; `undefined-metric`.
    """
    models, names = names_in(answers)
    faults = known_names("parents", parents, models) + known_names("metrics", list(metrics or {}), names)
    faults += known_names("experts", [*(experts or {}).values()], models)
    refuse(faults + known_names("experts", [*(experts or {})], names))
    tasks = line_up(answers, metrics or {}, how, progress)
    chosen = {task.name: (experts or {}).get(task.name) or _best(task, parents or models) for task in tasks}
    points, draws = _raw(tasks) if raw else _shares(tasks, chosen)
    overall = (points.mean(axis=0), draws.mean(axis=0))
    compared = [(task.metric, task.answers) for task in tasks]
    standings = []
    for model in models:
        against = against_best(models, model, parents or models, *overall, how, compared)
        cost = (costs or {}).get(model, Cost())
        standings.append(_standing(model, models, model in parents, tasks, points, raw, against, cost, how))
    return Standings(
        {task.name: task.metric.name for task in tasks},
        chosen,
        tuple(standings),
        group_tables(tasks, groups, how),
        _forms(tasks, models, parents, how),
        raw,
        how,
        _notes(tasks, models, parents, experts or {}, raw),
    )


def _best(task: LinedUp, among: Sequence[str]) -> str:
    """The best of some models on a task, the first of equal ones."""
    return max(among, key=lambda model: task.scores[model].gain)


def _shares(tasks: Sequence[LinedUp], experts: Mapping[str, str]) -> tuple[Array, Array]:
    """Shares of the experts' scores: `[tasks, models]`, and on draws `[tasks, models, draws]`."""
    pairs = [share_of(task, experts[task.name]) for task in tasks]
    return np.stack([points for points, _ in pairs]), np.stack([draws for _, draws in pairs])


def _raw(tasks: Sequence[LinedUp]) -> tuple[Array, Array]:
    """The gains themselves.

    Raises:
        UsageError: the tasks have several metrics.
    """
    if len(found := sorted({task.metric.name for task in tasks})) > 1:
        message = f"raw scores can be averaged over tasks of one metric; found {', '.join(found)}"
        raise UsageError(Fault("bad-argument", message, subject="raw", hint="leave it out, or name one metric for all"))
    points = np.array([[score.gain for score in task.scores.values()] for task in tasks])
    return points, np.stack([task.gains for task in tasks])


def _standing(
    model: str,
    models: Sequence[str],
    parent: bool,
    tasks: Sequence[LinedUp],
    points: Array,
    raw: bool,
    against: Against | None,
    cost: Cost,
    how: Draws,
) -> Standing:
    own = points[:, models.index(model)]
    cells = {
        task.name: Cell(
            task.scores[model],
            None if raw else float(own[number]),
            None if against is None else _on_task(task, models, model, against.model, how),
        )
        for number, task in enumerate(tasks)
    }
    hardest = int(np.argmin(own))
    return Standing(model, parent, cells, float(own.mean()), float(own[hardest]), tasks[hardest].name, against, cost)


def _on_task(task: LinedUp, models: Sequence[str], model: str, other: str, how: Draws) -> Difference:
    a, b = task.answers[model], task.answers[other]
    value = task.scores[model].gain - task.scores[other].gain
    draws = task.gains[models.index(model)] - task.gains[models.index(other)]
    return difference_of(value, draws, how, rows=len(a), differing=differing(task.metric, a, b))


def _forms(
    tasks: Sequence[LinedUp], models: Sequence[str], parents: Sequence[str], how: Draws
) -> tuple[FormCheck, ...]:
    """The share of answers that parse, for tasks that ask for a form."""
    return tuple(
        check
        for task in tasks
        if all("parsed" in answers.columns for answers in task.answers.values())
        for check in _form(task, models, parents, how)
    )


def _form(task: LinedUp, models: Sequence[str], parents: Sequence[str], how: Draws) -> list[FormCheck]:
    metric = metric_named("parsed")
    points = np.array([value_of(metric, task.answers[model]) for model in models])
    draws = gains_of(metric, [task.answers[model] for model in models], how, task.name)
    checks = []
    for number, model in enumerate(models):
        compared = [(metric, task.answers)]
        rivals = () if model in parents else parents or models
        against = against_best(models, model, rivals, points, draws, how, compared)
        found = None if against is None else against.difference
        collapsed = found is not None and found.verdict == "worse" and found.value <= -FALL
        checks.append(FormCheck(model, task.name, float(points[number]), against, collapsed))
    return checks


def _notes(
    tasks: Sequence[LinedUp],
    models: Sequence[str],
    parents: Sequence[str],
    experts: Mapping[str, str],
    raw: bool,
) -> tuple[str, ...]:
    """What is to be known of how the figures came about."""
    among = parents or models
    notes = []
    if not parents and len(models) > 2:
        notes.append("no parents are named: each model is compared with the best of all others")
    if len(among) > 2 or (parents and len(parents) > 1):
        what = "parent" if parents else "other model"
        notes.append(
            f"the best {what} is chosen on these same rows; the intervals hold whichever is the best, those of single"
            " tasks do not know of the choice"
        )
    if not raw and (chosen := [task.name for task in tasks if task.name not in experts]) and len(among) > 1:
        notes.append(
            f"no expert is named for {', '.join(chosen)}: the best parent's or model's score there is the unit"
        )
    few = [task.name for task in tasks if len(next(iter(task.answers.values()))) < 30]
    if few:
        notes.append(f"fewer than 30 rows: {', '.join(few)}; bootstrap intervals of so few rows are too narrow")
    return tuple(notes)
