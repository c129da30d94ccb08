"""Learn the weights of a merge on data: a recipe in, the recipe with learned weights out.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.api.arguments import AnyRecipe, as_output, as_path, callback_faults, refuse, switch_faults, unfit
from cuvee.api.files import opened
from cuvee.errors import Fault, RecipeError, UsageError, integer_faults, nearest
from cuvee.recipe import Recipe, faults, from_data, not_yet, parse_file

if TYPE_CHECKING:
    from cuvee.coefficients.asked import Asked, Objective, Per
    from cuvee.coefficients.descent import Coefficients, Curve
    from cuvee.coefficients.groups import Grouping
    from cuvee.coefficients.outcome import LearnResult
    from cuvee.coefficients.rows import Task
    from cuvee.types import MethodSpec

Data = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
"""A data file for all models, or data files by the names of the models whose they are."""


def learn(
    recipe: AnyRecipe,
    *,
    data: Data,
    objective: Objective = "entropy",
    per: Per = "layer",
    steps: int = 500,
    lr: float = 1e-3,
    batch_size: int = 16,
    seed: int = 0,
    max_length: int = 512,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    max_memory: str | int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> LearnResult:
    """Learn the weights of a merge, one per model or per model and layer, by gradient descent on data.

    The merged parameters are θ(λ) = merge(models; λ), by the recipe's own method, and λ takes `steps` steps of Adam
    towards a smaller objective. `task_arithmetic`: λ is free (AdaMerging). `linear`: λ is a softmax over the models
    (learned soup), and with cross-entropy a temperature is learned beside it. See docs/learn.md.

    Args:
        recipe: a recipe of `task_arithmetic` or `linear` with whole models. Its weights are where learning starts; 0.3,
            and equal ones for `linear`, without any.
        data: a JSON-lines file for all models, or files by model: rows with `text` or `input_ids`, and `label`.
        objective: `entropy` of the predictions (no labels), `cross-entropy` with labels (of the next token, for
            language models), or `kl`, the divergence from each expert's own predictions on its own data.
        per: `model` or `layer`.
        steps: steps of Adam, 0 or more.
        lr: its learning rate, above 0.
        batch_size: rows of each data file in a step.
        seed: of the order of rows, any integer.
        max_length: tokens after which a row is cut.
        out: where to write the learned recipe, `.yml`, and a log beside it, `.json`; nothing is written without it.
        overwrite: replace these files if they are there.
        threads: threads of torch; the same number gives the same recipe.
        max_memory: most memory for models, in bytes or as `"8GiB"`; what is free without it.
        progress: called with steps done, steps in all and a text.

    Raises:
        UsageError: an argument of the wrong type or value; transformers is not installed.
        RecipeError: faults of the recipe, or a recipe whose weights cannot be learned.
        InputError: faults of the data or of the models.
        OutputExists: a file of the output is there.
        ResourceError: too little memory, or no right to write.
        CheckFailed: the loss stopped being a number.
    """
    from cuvee.checkpoint import parse_size
    from cuvee.coefficients import outcome
    from cuvee.coefficients.asked import Asked, recipe_faults
    from cuvee.coefficients.rows import read_tasks

    asked = Asked(objective, per, steps, lr, batch_size, seed, max_length)
    count = [] if threads is None else integer_faults("threads", threads, least=1)
    refuse([*asked.faults(), *count, *switch_faults(overwrite=overwrite), *callback_faults(progress)])
    limit = None if max_memory is None else parse_size(max_memory)
    target = None if out is None else as_output(out, "the learned recipe must be a file's name")
    given = _read(recipe)
    if wrong := [*not_yet(given), *recipe_faults(given)]:
        raise RecipeError(wrong)
    files = _files(data, given)
    if target is not None:
        own = [Path(recipe)] if isinstance(recipe, str | os.PathLike) else []
        outcome.check_out(target, overwrite, [*own, *(path for _, path, _ in files)])
    tasks = read_tasks(files)
    result = _learn(_Job(given, asked, tasks, limit, threads, progress))
    if target is None:
        return result
    outcome.write(result, target)
    return replace(result, path=target)


@dataclass(frozen=True, slots=True)
class _Job:
    """A run whose arguments, recipe and data files are in order."""

    recipe: Recipe
    asked: Asked
    tasks: Sequence[Task]
    limit: int | None
    threads: int | None
    progress: Callable[[int, int, str], None] | None


def _specs() -> dict[str, MethodSpec]:
    from cuvee.coefficients.asked import with_starting_weights

    return with_starting_weights(methods.specs())


def _read(given: object) -> Recipe:
    """The recipe, which need not have weights.

    Raises:
        UsageError: it is none of the forms that a recipe has.
        RecipeError: its faults.
    """
    if isinstance(given, Mapping):
        return from_data(given, _specs())
    if isinstance(given, str | os.PathLike):
        return parse_file(as_path(given, "recipe", "a recipe must be a file's name"), _specs())
    if not isinstance(given, Recipe):
        raise UsageError(unfit("recipe", "a recipe, a mapping with its keys, or the path of its file", given))
    if wrong := faults(given, _specs()):
        raise RecipeError(wrong)
    return given


def _files(data: object, recipe: Recipe) -> list[tuple[str, Path, tuple[int, ...]]]:
    """Name, file and experts of every data set.

    Raises:
        UsageError: there is none, or one is of no model.
    """
    from cuvee.coefficients.asked import learners

    models = [entry.model for entry in learners(recipe)]
    if not isinstance(data, Mapping):
        return [("all", as_path(data, "data", "data must be a file of JSON lines"), tuple(range(len(models))))]
    if not data:
        message = "there must be data to learn on; found none"
        raise UsageError(Fault("bad-argument", message, subject="data", hint="give --data FILE or --data MODEL=FILE"))
    called: dict[str, list[int]] = {}
    for number, ref in enumerate(models):
        for name in {str(ref), ref.path, Path(ref.path).name}:
            called.setdefault(name, []).append(number)
    wrong = [_no_model(str(name), called) for name in data if len(called.get(str(name), [])) != 1]
    refuse(wrong)
    return [
        (str(models[called[name][0]]), as_path(path, "data", "data must be files of JSON lines"), (called[name][0],))
        for name, path in data.items()
    ]


def _no_model(name: str, called: Mapping[str, Sequence[int]]) -> Fault:
    what = "more than one model is called" if name in called else "no model of the recipe is called"
    message = f"data should be named by the model that they are of; {what} `{name}`"
    return Fault("bad-argument", message, subject="data", hint=nearest(name, called))


def _learn(job: _Job) -> LearnResult:
    """Open the models, learn, and say what came of it."""
    from cuvee.coefficients import descent, groups, model, ready
    from cuvee.families import study, training
    from cuvee.families.inputs import padding_token
    from cuvee.planning import bind, referenced

    recipe, asked, method = job.recipe, job.asked, methods.get(job.recipe.method)
    soup = recipe.method == "linear"
    with opened(referenced(recipe), recipe.root) as readers, descent.on_threads(job.threads):
        plan = bind(recipe, readers, _specs()[recipe.method])
        donor = readers[plan.donor]
        kind, text = ready.class_and_text(plan, donor.label)
        ready.check_labels(job.tasks, asked, kind)
        grouping = groups.grouped(plan, study(donor.specs, donor.config), asked.per)
        starts = groups.starting_weights(plan, grouping, positive=soup)
        model.check_memory(plan, job.limit)
        skeleton = training.skeleton(text, donor.label)
        sets, data = ready.data_sets(job.tasks, asked, skeleton, kind, donor)
        merged = model.load(plan, readers, grouping, method, skeleton)
        learned = descent.coefficients(starts, softmax=soup, temperature=soup and asked.objective == "cross-entropy")
        pad = padding_token(skeleton.config) or 0
        curve = descent.learn(merged, learned, sets, asked, pad=pad, step_done=job.progress)
        weights = [tuple(map(groups.as_float32, row)) for row in learned.weights().tolist()]
        made = _with_weights(recipe, weights, grouping)
        groups.confirm(bind(made, readers, method.spec), grouping, weights)
    return _result(job, made, learned, grouping, weights, curve, data)


def _with_weights(recipe: Recipe, weights: Sequence[Sequence[float]], grouping: Grouping) -> Recipe:
    """The recipe with what was learned in it."""
    from cuvee.coefficients.asked import learners
    from cuvee.coefficients.groups import with_weights

    learning = [recipe.models.index(entry) for entry in learners(recipe)]
    return with_weights(recipe, learning, weights, grouping)


def _result(
    job: _Job,
    recipe: Recipe,
    learned: Coefficients,
    grouping: Grouping,
    weights: Sequence[Sequence[float]],
    curve: Curve,
    data: Sequence[Mapping[str, Any]],
) -> LearnResult:
    from cuvee.coefficients.asked import learners
    from cuvee.coefficients.outcome import LearnResult, log_of

    names = [str(entry.model) for entry in learners(recipe)]
    columns = [dict(zip(grouping.names, column, strict=True)) for column in zip(*weights, strict=True)]
    cut = [f"{one['cut']} of {one['rows']} rows of {one['file']} were cut" for one in data if one["cut"]]
    result = LearnResult(
        recipe=recipe,
        coefficients=dict(zip(names, columns, strict=True)),
        curve=tuple(curve.losses),
        before=curve.before,
        after=curve.after,
        temperature=None if learned.log_beta is None else float(learned.log_beta.exp().detach()),
        log={},
        notes=tuple(cut),
    )
    return replace(result, log=log_of(result, job.asked, data, version("cuvee")))
