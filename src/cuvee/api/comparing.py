"""Compare models: run on tasks here, or by answers that were saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cuvee.api.arguments import as_path, callback_faults, refuse, switch_faults, unfit
from cuvee.errors import CuveeError, Fault, InputError, UsageError

if TYPE_CHECKING:
    from cuvee.judging.answers import Answers
    from cuvee.judging.standings import Cost, Standings


class AnswersOf(Protocol):
    """Whoever asks models: what `compare` needs of an evaluation."""

    def __call__(self, models: Sequence[str], tasks: Sequence[str]) -> Mapping[tuple[str, str], Answers]:
        """The answers of every model on every task."""


def compare(
    models: Sequence[str | os.PathLike[str]] = (),
    tasks: Sequence[str | os.PathLike[str]] = (),
    *,
    answers: Sequence[str | os.PathLike[str]] | Mapping[tuple[str, str], Answers] | None = None,
    answers_of: AnswersOf | None = None,
    parents: Sequence[str] | None = None,
    experts: Mapping[str, str] | None = None,
    metrics: Mapping[str, str] | str | None = None,
    groups: Sequence[str] = (),
    costs: Mapping[str, Cost] | None = None,
    raw: bool = False,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    interval: str = "percentile",
    progress: Callable[[int, int, str], None] | None = None,
    asking: Mapping[str, Any] | None = None,
) -> Standings:
    """Every model on every task: normalised by experts, against the best parent, by groups, with error bars and cost.

    Args:
        models: model folders, hub ids or recipes to run on `tasks`; or which models of `answers`, all if none.
        tasks: task files or `module:function`.
        answers: files of answers, or answers by (model, task), instead of running models.
        answers_of: asks the models, instead of `evaluate`.
        parents: models that the others are compared with. If not given: those of the models without a record of a
            merge, where some have one; else each model is compared with the best of all others.
        experts: task → the model whose score is the unit there; the best parent if not given.
        metrics: one metric for all tasks, or task → metric; the tasks' own, or the usual ones, if not given.
        groups: columns of the data to tell the metric by.
        costs: model → what it costs; taken from the models and the time they take if not given.
        raw: average scores of one metric instead of shares of experts' scores.
        draws: bootstrap draws, 100 or more.
        seed: of the draws, 0 or more.
        level: coverage of intervals, (0, 1).
        interval: `percentile` or `basic`.
        progress: called with rows asked, or tasks compared where there are answers, their number, and what it is at.
        asking: further arguments of `evaluate`: `batch_size`, `limit`, `dtype`, `device`, `cache`.

    Raises:
        UsageError: an argument is wrong.
        InputError: models, tasks or answers are, or a metric has no value.
    """
    several = {"models": models, "tasks": tasks, "groups": groups, "parents": parents or ()}
    refuse([fault for name, given in several.items() for fault in _list_faults(name, given)])
    refuse([*switch_faults(raw=raw), *callback_faults(progress), *_source_faults(models, tasks, answers, answers_of)])
    from cuvee.judging.bootstrap import Draws
    from cuvee.judging.comparing import compare as run

    how = Draws(draws, seed, float(level) if type(level) is int else level, interval)  # type: ignore[arg-type]
    names = [os.fspath(model) for model in models]
    asked = [os.fspath(task) for task in tasks]
    usual: Mapping[str, str] = {}
    found_costs: Mapping[str, Cost] = {}
    is_asking = answers is None and answers_of is None
    if answers_of is not None:
        found = answers_of(names, asked)
    elif answers is None:
        found, usual, found_costs = _asked(models, tasks, progress, asking or {})
    elif isinstance(answers, Mapping):
        found = answers
    else:
        found, found_costs = _read(answers)
    if answers is not None and names:
        found = _only(found, names)
    named = dict.fromkeys((task for _, task in found), metrics) if isinstance(metrics, str) else metrics or {}
    return run(
        found,
        parents=_parents(names) if parents is None else list(parents),
        experts=experts,
        metrics={**usual, **named},
        groups=list(groups),
        costs={**found_costs, **(costs or {})},
        raw=raw,
        how=how,
        progress=None if is_asking else progress,
    )


def _list_faults(name: str, given: object) -> list[Fault]:
    good = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    if good and all(isinstance(one, str | os.PathLike) for one in given):  # type: ignore[attr-defined]
        return []
    return [unfit(name, "a list of names", given)]


def _source_faults(models: object, tasks: object, answers: object, answers_of: object) -> list[Fault]:
    """What is wrong with where the answers come from."""
    if answers is None and not (models and tasks):
        hint = "name models and --tasks, or files of --answers"
        return [Fault("bad-argument", "there should be models and tasks, or answers", subject="tasks", hint=hint)]
    if answers is not None and (tasks or answers_of is not None):
        message = "answers that are there are asked for no more: leave either `answers` or `tasks` out"
        return [Fault("bad-argument", message, subject="answers")]
    if answers is None or isinstance(answers, Mapping):
        return []
    wrong = _list_faults("answers", answers)
    return wrong or ([] if answers else [Fault("bad-argument", "`answers` names no file", subject="answers")])


def _asked(
    models: Sequence[Any],
    tasks: Sequence[Any],
    progress: Callable[[int, int, str], None] | None,
    asking: Mapping[str, Any],
) -> tuple[Mapping[tuple[str, str], Answers], Mapping[str, str], Mapping[str, Cost]]:
    """Answers, the tasks' first metrics and what the models cost, of models that are run.

    Raises:
        InputError: the faults of all that failed; or a task gives scores and no answers.
    """
    from cuvee.api.evaluating import evaluate
    from cuvee.judging.metrics.outcomes import MEAN

    made = evaluate(list(models), list(tasks), progress=progress, **asking)
    made.check()
    if bare := sorted({one.task for one in made.judged if one.answers is None}):
        message = f"models are compared by their answers, row by row; {bare[0]} gives scores alone"
        raise InputError(Fault("bad-answers", message, subject=bare[0], hint="see them with `cuvee eval`"))
    answers = {(one.model, one.task): one.answers for one in made.judged if one.answers is not None}
    metrics = {}
    for one in made.judged:
        first = one.scores[0]
        own = one.answers is not None and one.answers.kind == "outcome"
        metrics[one.task] = MEAN[first.direction] if own else first.metric
    seconds = {model: [(o.seconds, o.scores[0].n) for o in made.judged if o.model == model] for model in made.models}
    return answers, metrics, {model: _cost(model, times) for model, times in seconds.items()}


def _cost(model: str, times: Sequence[tuple[float, int]]) -> Cost:
    """Parameters from the headers, and time per row; no time where answers were kept from before."""
    from cuvee.api.files import inspect
    from cuvee.judging.standings import Cost

    seconds = sum(took for took, _ in times) / sum(rows for _, rows in times)
    try:
        parameters = inspect(model).parameters
    except CuveeError:  # a recipe, which has no headers of its own
        parameters = None
    return Cost(parameters, None if seconds != seconds else seconds)


def _read(files: Sequence[Any]) -> tuple[dict[tuple[str, str], Answers], dict[str, Cost]]:
    """The answers in files.

    Raises:
        InputError: the faults of all files; or two are of one model on one task.
    """
    from cuvee.judging.saved import read_answers

    faults: list[Fault] = []
    found: dict[tuple[str, str], Answers] = {}
    costs: dict[str, list[Cost]] = {}
    for file in files:
        try:
            saved = read_answers(as_path(file, "answers", "answers must be in a file"))
        except InputError as error:
            faults += error.faults
            continue
        if (saved.model, saved.task) in found:
            message = f"{file}: answers of {saved.model} on {saved.task} are in another file too"
            faults.append(Fault("bad-answers", message, subject=str(file)))
        found[saved.model, saved.task] = saved.answers
        costs.setdefault(saved.model, []).append(saved.cost)
    if faults:
        raise InputError(faults)
    return found, {model: _merged(several) for model, several in costs.items()}


def _merged(costs: Sequence[Cost]) -> Cost:
    """What several files of one model say of its cost: the parameters, and the mean of the times."""
    from cuvee.judging.standings import Cost

    times = [cost.seconds_per_row for cost in costs if cost.seconds_per_row is not None]
    parameters = next((cost.parameters for cost in costs if cost.parameters is not None), None)
    return Cost(parameters, sum(times) / len(times) if times else None)


def _only(answers: Mapping[tuple[str, str], Answers], models: Sequence[str]) -> dict[tuple[str, str], Answers]:
    """The answers of some models, in their order.

    Raises:
        UsageError: there are none of one.
    """
    from cuvee.judging.lined_up import known_names

    known = list(dict.fromkeys(model for model, _ in answers))
    if faults := known_names("models", models, known):
        raise UsageError(faults)
    return {(model, task): found for name in models for (model, task), found in answers.items() if model == name}


def _parents(models: Sequence[str]) -> list[str]:
    """The models that no merge has made, where some of them are made by one."""
    from cuvee.checkpoint.contents import RECORD_NAME

    made = [model for model in models if (Path(model) / RECORD_NAME).is_file()]
    return [model for model in models if model not in made] if made else []
