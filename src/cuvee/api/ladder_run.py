"""A ladder whose arguments are in order: the models are asked in every form."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cuvee.api import ladder_forms as forms
from cuvee.api.evaluating import _read
from cuvee.api.ladder_course import Asked, Form, Run
from cuvee.api.ladder_measure import Parts, measure_of
from cuvee.api.ladder_tell import told
from cuvee.errors import CuveeError, Fault, InputError, listed
from cuvee.judging.cascading import NEVER, cascaded, confidence, fit_threshold, share_passed
from cuvee.judging.ladder import Ladder, Price
from cuvee.judging.metrics import metric_named
from cuvee.recipe import Recipe
from cuvee.searching.soups import greedy
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.judging.answers import Answers
    from cuvee.judging.tasks import Task


def carry_out(recipe: Recipe, models: tuple[ModelRef, ...], tasks: Sequence[Any], asked: Asked) -> Ladder:
    """Climb the ladder.

    Raises:
        CuveeError: as `cuvee.ladder` says.
    """
    read = _read(tasks, asked.asking.get("limit"), asked.how.seed if asked.asking.get("limit") else None)
    names = forms.short_names(models)
    singles = {name: forms.single(recipe, model) for name, model in zip(names, models)}
    with tempfile.TemporaryDirectory(prefix="cuvee-ladder-") as room:
        run = Run(recipe, asked, read, names, models, singles, Path(room))
        made: dict[str, Form | CuveeError] = {"best single": _single(run), "merge": _merge(run)}
        for name, make in (("soup", _soup), ("merge + masks", _masks), ("ensemble", _ensemble)):
            made[name] = _tried(run, name, partial(make, run))
        made["cascade"] = _tried(run, "cascade", lambda: _cascade(run, made["ensemble"]))
        found = told(run, made)
        run.say("")
        return found


def _tried(run: Run, name: str, make: Callable[[], Form]) -> Form | CuveeError:
    """A rung, or why there is none."""
    run.say(name)
    try:
        return make()
    except CuveeError as error:
        return error


def _single(run: Run) -> Form:
    """Every model alone; the best of them on the rows that things are chosen on."""
    for name in run.names:
        run.say(name)
        run.answers[name] = run.ask(name, run.singles[name])
    first = run.answers[run.names[0]]
    run.parts = Parts.of(first, run.asked.holdout, run.asked.how.seed)
    metrics = {task.name: metric_named(_metric(task, first[task.name]), first[task.name].kind) for task in run.tasks}
    run.measure = measure_of(metrics, [run.parts.to_choose(one) for one in run.answers.values()])
    run.best = max(run.names, key=lambda name: run.worth(run.answers[name]))
    model = run.singles[run.best]
    count = run.parameters(model)
    what = f"{run.best}, the best of {len(run.names)}"
    return Form(what, run.answers[run.best], _all(run, model), Price(count, count))


def _metric(task: Task, answers: Answers) -> str:
    """The first metric of a task; what a function says is a mean of its own direction."""
    from cuvee.judging.metrics.outcomes import MEAN
    from cuvee.judging.scoring import metrics_of

    return MEAN[task.options.direction] if answers.kind == "outcome" else metrics_of(task, answers)[0]  # type: ignore[union-attr]


def _all(run: Run, model: Any) -> dict[str, Any]:
    return {task.name: model for task in run.tasks}


def _merge(run: Run) -> Form:
    run.say("merge")
    count = run.parameters(run.recipe)
    what = f"{run.recipe.method} of {len(run.names)}"
    return Form(what, run.ask("merge", run.recipe), _all(run, run.recipe), Price(count, count))


def _soup(run: Run) -> Form:
    """An average with equal weights: of all models, or of those that a greedy choice keeps."""
    if run.asked.soup == "uniform":
        chosen: tuple[str, ...] = run.names
    else:
        chosen = _greedy(run)
    model = run.singles[chosen[0]] if len(chosen) == 1 else _soup_of(run, chosen)
    answers = run.answers[chosen[0]] if len(chosen) == 1 else run.ask("soup", model)
    count = run.parameters(model)
    what = f"{run.asked.soup}: {listed(chosen, 6)}" + (" alone, no other helped" if len(chosen) == 1 else "")
    return Form(what, answers, _all(run, model), Price(count, count))


def _soup_of(run: Run, names: Sequence[str]) -> Recipe:
    return forms.soup_of(run.recipe, [model for name, model in zip(run.names, run.models) if name in names])


def _greedy(run: Run) -> tuple[str, ...]:
    """The members of a greedy soup; of equally good ones the larger, as `searching.soups` has it."""
    course, gain = greedy(run.names), None
    best, chosen = -np.inf, run.names[:1]
    while True:
        try:
            values = course.send(gain)
        except StopIteration:
            return chosen
        names = tuple(name for name in run.names if values[name])
        gain = run.worth(run.answers[names[0]] if len(names) == 1 else run.ask("soup", _soup_of(run, names)))
        if gain > best or (gain == best and len(names) > 1):
            best, chosen = gain, names


def _masks(run: Run) -> Form:
    """A pack: what a task's own model keeps of one delta. A task's model is the best single one on it."""
    from cuvee.api.packing import pack

    asked, base = forms.pack_recipe(run.recipe, run.models, run.asked.base, run.asked.masks)
    made = pack(asked, run.room / "pack", masks="agree" if run.asked.masks == "emr" else "tall")
    names = dict(zip(run.names, forms.packed_tasks(made.facts, run.models).values()))
    experts = {task.name: _expert(run, task.name) for task in run.tasks}
    systems, answers = {}, {}
    for expert in dict.fromkeys(experts.values()):
        own = [task for task in run.tasks if experts[task.name] == expert]
        model = forms.task_of(run.room / "pack", names[expert])
        answers.update(run.ask(f"masks of {expert}", model, own))
        systems.update({task.name: model for task in own})
    active = run.parameters(next(iter(systems.values())))
    held = None if active is None else active + made.facts.entries
    told = ", ".join(f"{task}: {expert}" for task, expert in experts.items())
    run.notes.append(f"merge + masks knows which task a row is of, and takes that task's mask ({told})")
    what = f"{run.asked.masks.upper()} pack over {forms.short_names([base])[0]}, 1 bit per entry and model"
    return Form(what, answers, systems, Price(held, active, mask_bits=made.facts.mask_bytes * 8))


def _expert(run: Run, task: str) -> str:
    """The model that is best on a task, on the rows that things are chosen on; of equal ones that of the same name."""
    on = {name: run.parts.to_choose({task: run.answers[name][task]})[task] for name in run.names}
    return max(run.names, key=lambda name: (run.measure.of_task(task, on[name]), name == task))


def _ensemble(run: Run) -> Form:
    model = forms.ensemble_of(run.singles)
    count = run.parameters(model)
    what = f"mean of {len(run.names)} predictions"
    return Form(what, run.ask("ensemble", model), _all(run, model), Price(count, count))


def _cascade(run: Run, ensemble: Form | CuveeError) -> Form:
    """The best of the smallest single models first, the ensemble where it is unsure.

    Raises:
        InputError: there is no ensemble, or answers without probabilities.
    """
    if isinstance(ensemble, CuveeError):
        raise InputError(Fault("no-member", "there is no ensemble to ask where the single model is unsure"))
    sizes = {name: run.parameters(run.singles[name]) or 0 for name in run.names}
    small = [name for name in run.names if sizes[name] == min(sizes.values())]
    name = max(small, key=lambda one: run.worth(run.answers[one]))
    first, second = run.answers[name], ensemble.answers
    for task, one in first.items():
        _check_probable(task, one)
    found = fit_threshold(run.parts.to_choose(first), run.parts.to_choose(second), run.measure, loss=run.asked.loss)
    answers = {task: cascaded(one, second[task], found.value) for task, one in first.items()}
    share = share_passed(run.parts.to_judge(first), found.value)
    when = "never asked" if found.value == NEVER else f"asked below {found.value:.3f}"
    what = f"{name} first, the ensemble {when}: {share:.0%} of rows"
    whole = ensemble.price.active
    active = sizes[name] + share * whole if whole is not None and sizes[name] else None

    def seconds(known: Mapping[str, float | None]) -> float | None:
        one, many = known["first"], known["ensemble"]
        return None if one is None or many is None else one + share * many

    return Form(what, answers, _all(run, run.singles[name]), Price(ensemble.price.parameters, active), seconds)


def _check_probable(task: str, answers: Answers) -> None:
    """Refuse a task of whose answers no probabilities are known, by its name.

    Raises:
        InputError: `undefined-metric`.
    """
    try:
        confidence(answers)
    except InputError as error:
        raise InputError(
            [replace(one, message=f"{task}: {one.message}", subject=task) for one in error.faults]
        ) from error
