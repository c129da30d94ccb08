"""Every model on every task, rows in one order, with scores and bootstrap draws: what a comparison is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cuvee.errors import Fault, InputError, listed, nearest
from cuvee.judging.answers import Answers
from cuvee.judging.bootstrap import Draws, aligned, difference_of, differing, gains_of, interval_of
from cuvee.judging.metrics import Metric, metric_named, metrics_for
from cuvee.judging.metrics.declared import Array
from cuvee.judging.metrics.scoring import sound_score
from cuvee.judging.standings import Against
from cuvee.types import Score

AllAnswers = Mapping[tuple[str, str], Answers]
"""(model, task) → answers."""


@dataclass(frozen=True, slots=True)
class LinedUp:
    """One task.

    Attributes:
        name: what it is called.
        metric: its metric.
        answers: model → answers, rows in one order.
        scores: model → score.
        gains: gains of each model on each draw, `[models, draws]`.
    """

    name: str
    metric: Metric
    answers: Mapping[str, Answers]
    scores: Mapping[str, Score]
    gains: Array


def names_in(answers: AllAnswers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Models and tasks, each in the order of their first answers.

    Raises:
        InputError: `bad-answers`: there are none, or a model has not answered a task.
    """
    models = tuple(dict.fromkeys(model for model, _ in answers))
    tasks = tuple(dict.fromkeys(task for _, task in answers))
    if not answers:
        raise InputError(Fault("bad-answers", "there should be answers of a model on a task; found none"))
    lacking = [(model, task) for model in models for task in tasks if (model, task) not in answers]
    if lacking:
        what = listed((f"{model} on {task}" for model, task in lacking), 4)
        raise InputError(Fault("bad-answers", f"every model should have answered every task; lacking: {what}"))
    return models, tasks


def known_names(subject: str, given: Sequence[str], known: Sequence[str]) -> list[Fault]:
    """What is wrong with names of models or tasks that there should be."""
    return [
        Fault(
            "bad-argument", f"`{subject}` names {name!r}, which is none of those compared", subject=subject, hint=hint
        )
        for name in given
        if name not in known
        for hint in (nearest(name, known),)
    ]


def line_up(
    answers: AllAnswers, metrics: Mapping[str, str], how: Draws, progress: Callable[[int, int, str], None] | None
) -> list[LinedUp]:
    """All tasks, scored and drawn.

    Raises:
        InputError: what is wrong with any answers, all of it.
        UsageError: metrics that there are not.
    """
    models, tasks = names_in(answers)
    faults: list[Fault] = []
    ordered: dict[str, dict[str, Answers]] = {}
    for task in tasks:
        try:
            ordered[task] = aligned({model: answers[model, task] for model in models}, task)
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    chosen = {task: _chosen(task, ordered[task][models[0]], metrics) for task in tasks}
    made = []
    for number, task in enumerate(tasks):
        if progress is not None:
            progress(number, len(tasks), task)
        made.append(_lined_up(task, chosen[task], ordered[task], how))
    if progress is not None:
        progress(len(tasks), len(tasks), "")
    return made


def _chosen(task: str, answers: Answers, metrics: Mapping[str, str]) -> Metric:
    return metric_named(metrics.get(task, metrics_for(answers.kind)[0]), answers.kind)


def _lined_up(task: str, metric: Metric, answers: Mapping[str, Answers], how: Draws) -> LinedUp:
    faults: list[Fault] = []
    scores: dict[str, Score] = {}
    for model, found in answers.items():
        try:
            scores[model] = sound_score(found, metric)
        except InputError as error:
            faults += [Fault(f.code, f"{task}, {model}: {f.message}", None, model, f.hint) for f in error.faults]
    if faults:
        raise InputError(faults)
    return LinedUp(task, metric, answers, scores, gains_of(metric, list(answers.values()), how, task))


def share_of(task: LinedUp, expert: str) -> tuple[Array, Array]:
    """Scores as shares of the expert's: of each model `[models]`, and on each draw `[models, draws]`.

    share = s / e where higher is better, e / s where lower is; e, the expert's score on all rows, is the unit, in the
    draws too.

    Raises:
        InputError: `undefined-metric`: the unit is zero or negative, or a share is infinite.
    """
    unit = task.scores[expert].value
    points = np.array([score.value for score in task.scores.values()])
    higher = task.metric.direction == "higher"
    if unit <= 0 and not (unit == 0 and not higher):
        message = f"{task.name}: scores cannot be told as shares of {unit:g}, the `{task.metric.name}` of {expert}"
        hint = "name a better expert, choose another metric, or compare raw scores of one metric (--raw)"
        raise InputError(Fault("undefined-metric", message, subject=task.name, hint=hint))
    with np.errstate(all="ignore"):
        shares = points / unit if higher else unit / points
        draws = task.gains / unit if higher else unit / -task.gains
    if not np.isfinite(shares).all():
        model = list(task.scores)[int(np.flatnonzero(~np.isfinite(shares))[0])]
        message = f"{task.name}: {model} has a `{task.metric.name}` of 0, of which no share of the expert's can be told"
        hint = "choose another metric, or compare raw scores of one metric (--raw)"
        raise InputError(Fault("undefined-metric", message, subject=task.name, hint=hint))
    return shares, draws


def against_best(
    models: Sequence[str],
    model: str,
    rivals: Sequence[str],
    points: Array,
    draws: Array,
    how: Draws,
    tasks: Sequence[tuple[Metric, Mapping[str, Answers]]],
) -> Against | None:
    """The gain of a model over the best of its rivals, with an interval that knows that the best was chosen.

    The best rival on these rows is not surely the best there is. The interval is one for the gain over whichever is:
    its lower end is the lowest of those for the K rivals, its upper end the lowest of those made for a level of
    1 − α/K. So `better` means better than every rival, and a rival that is best by luck makes nobody `worse`.

    Args:
        models: names, as the rows of `points` and `draws` are.
        model: the one that is judged.
        rivals: whom it is compared with; itself is left out.
        points: value of each model, larger is better.
        draws: the same on each draw, `[models, draws]`.
        how: level and kind of interval.
        tasks: metric and answers of each task, to count rows that differ.
    """
    others = [name for name in rivals if name != model]
    if not others:
        return None
    place = {name: number for number, name in enumerate(models)}
    own = place[model]
    best = max(others, key=lambda name: float(points[place[name]]))
    rows = sum(len(found[model]) for _, found in tasks)
    differ = sum(differing(metric, found[model], found[best]) for metric, found in tasks)
    plain = difference_of(
        float(points[own] - points[place[best]]), draws[own] - draws[place[best]], how, rows=rows, differing=differ
    )
    if len(others) == 1 or not plain.low <= plain.high:
        return Against(best, len(others), plain)
    alpha = 1 - how.level
    lows, highs = [], []
    for name in others:
        value, spread = float(points[own] - points[place[name]]), draws[own] - draws[place[name]]
        spread = spread[np.isfinite(spread)]
        lows.append(interval_of(value, spread, how.level, how.interval)[0])
        highs.append(interval_of(value, spread, 1 - alpha / len(others), how.interval)[1])
    return Against(best, len(others), replace(plain, low=min(lows), high=min(highs)))
