"""Compare models: run on tasks here, or by answers that were saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from cuvee.api.arguments import as_path, callback_faults, refuse, switch_faults, unfit
from cuvee.api.candidates import is_saved_ensemble, named
from cuvee.errors import CuveeError, Fault, InputError, UsageError
from cuvee.types import PredictionAverage

if TYPE_CHECKING:
    from cuvee.judging.answers import Answers
    from cuvee.judging.standings import Cost, Standings


class AnswersOf(Protocol):
    """Whoever asks models: what `compare` needs of an evaluation."""

    def __call__(self, models: Sequence[str], tasks: Sequence[str]) -> Mapping[tuple[str, str], Answers]:
        """The answers of every model on every task."""


Several = Sequence[str | os.PathLike[str] | PredictionAverage] | Mapping[str, Any]
"""Models to compare: in a list, or by name."""

_ENSEMBLE: Final = "ensemble"
"""What the row of the parents' ensemble is called."""


def compare(
    models: Several = (),
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
    ensemble: bool = False,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    interval: str = "percentile",
    progress: Callable[[int, int, str], None] | None = None,
    asking: Mapping[str, Any] | None = None,
) -> Standings:
    """Every model on every task: normalised by experts, against the best parent, by groups, with error bars and cost.

    Args:
        models: model folders, hub ids, recipes or `PredictionAverage`s to run on `tasks`, or a mapping of names to
            these; or which models of `answers`, all if none.
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
        ensemble: also run the ensemble of the parents, the mean of what they predict, as a model called `ensemble`;
            where no parents are known, that of all models, which are its parents then.
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
    several = {"tasks": tasks, "groups": groups, "parents": parents or ()}
    refuse([*_model_faults(models), *(fault for name, given in several.items() for fault in _list_faults(name, given))])
    refuse(
        [
            *switch_faults(raw=raw, ensemble=ensemble),
            *callback_faults(progress),
            *_source_faults(models, tasks, answers, answers_of),
        ]
    )
    from cuvee.judging.bootstrap import Draws
    from cuvee.judging.comparing import compare as run

    how = Draws(draws, seed, float(level) if type(level) is int else level, interval)  # type: ignore[arg-type]
    given = named(models if isinstance(models, Mapping) else list(models))
    if parents is None:
        parents = _parents(given) or (list(given) if ensemble else [])
    if ensemble:
        given = _with_ensemble(given, parents, is_asking=answers is None and answers_of is None)
    names = list(given)
    asked = [os.fspath(task) for task in tasks]
    usual: Mapping[str, str] = {}
    found_costs: Mapping[str, Cost] = {}
    is_asking = answers is None and answers_of is None
    if answers_of is not None:
        found = answers_of(names, asked)
    elif answers is None:
        found, usual, found_costs = _asked(given, tasks, progress, asking or {})
    elif isinstance(answers, Mapping):
        found = answers
    else:
        found, found_costs = _read(answers)
    if answers is not None and names:
        found = _only(found, names)
    by_task = dict.fromkeys((task for _, task in found), metrics) if isinstance(metrics, str) else metrics or {}
    return run(
        found,
        parents=list(parents),
        experts=experts,
        metrics={**usual, **by_task},
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


def _model_faults(given: object) -> list[Fault]:
    """What is wrong with the models: a mapping is looked at by whoever runs them."""
    if isinstance(given, Mapping):
        return []
    listed = given if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    good = isinstance(given, Sequence) and all(isinstance(one, PredictionAverage) or _is_name(one) for one in listed)
    return [] if good and listed is given else [unfit("models", "a list of names, or names and models", given)]


def _is_name(one: object) -> bool:
    return isinstance(one, str | os.PathLike)


def _with_ensemble(given: Mapping[str, Any], parents: Sequence[str], *, is_asking: bool) -> dict[str, Any]:
    """The models, and the ensemble of the parents.

    Raises:
        UsageError: there is nothing to make one of.
    """
    models = [given.get(name) for name in parents]
    wrong = ""
    if not is_asking:
        wrong = "an ensemble is asked, not made of saved answers: give models and tasks"
    elif _ENSEMBLE in given:
        wrong = f"a model is called `{_ENSEMBLE}` already"
    elif len(models) < 2:
        wrong = f"an ensemble should be of two parents or more; found {', '.join(parents) or 'none'}"
    elif not all(_is_name(model) for model in models):
        wrong = "the parents of an ensemble should be folders, hub ids or recipe files, among the models"
    refuse([Fault("bad-argument", wrong, subject="ensemble")] if wrong else [])
    return {**given, _ENSEMBLE: PredictionAverage(tuple(os.fspath(model) for model in models if model is not None))}


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
    models: Mapping[str, Any],
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

    made = evaluate(models, list(tasks), progress=progress, **asking)
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
    return answers, metrics, {model: _cost(models[model], times) for model, times in seconds.items()}


def _cost(model: Any, times: Sequence[tuple[float, int]]) -> Cost:
    """Parameters, and time per row; no time where answers were kept from before."""
    from cuvee.judging.standings import Cost

    seconds = sum(took for took, _ in times) / sum(rows for _, rows in times)
    return Cost(_parameters(model), None if seconds != seconds else seconds)


def _parameters(model: Any) -> int | None:
    """Parameters from the headers, of an ensemble those of all members; `None` where they are not known before."""
    from cuvee.api.files import inspect

    if isinstance(model, PredictionAverage):
        each = [_parameters(one) for one in model.models]
        return None if None in each else sum(one for one in each if one is not None)
    if callable(getattr(model, "parameters", None)):
        return sum(int(one.numel()) for one in model.parameters())
    if _is_name(model) and is_saved_ensemble(model):
        return None  # what stands in its own file are predictions, and its members are of any kind
    try:
        return inspect(model).parameters if _is_name(model) else None
    except CuveeError:  # a recipe, which has no headers of its own
        return None


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


def _parents(models: Mapping[str, Any]) -> list[str]:
    """The models that no merge has made, where some of them are made by one."""
    from cuvee.checkpoint.contents import RECORD_NAME

    folders = {name: model for name, model in models.items() if _is_name(model)}
    made = [name for name, model in folders.items() if (Path(model) / RECORD_NAME).is_file()]
    return [name for name in folders if name not in made] if made else []
