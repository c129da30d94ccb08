"""Search the holes of a recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cuvee.api.arguments import AnyRecipe, as_output, as_path, callback_faults, refuse, switch_faults, unfit
from cuvee.api.objectives import Objective, as_scorers
from cuvee.errors import Fault, RecipeError, UsageError, number_faults
from cuvee.recipe import Recipe, to_data
from cuvee.searching.trials import TRIALS

if TYPE_CHECKING:
    from cuvee.api.learning import Data
    from cuvee.searching.outcome import SearchResult
    from cuvee.searching.seat import Build
    from cuvee.searching.space import Space
    from cuvee.searching.trials import Executor

_SOUPS = ("uniform-soup", "greedy-soup")
Told = Callable[[int, int, str], None]
"""Told of trials done, trials in all, and the best so far."""


def search(
    recipe: AnyRecipe,
    objective: Objective | Sequence[Objective],
    *,
    strategy: str = "cma-es",
    trials: int | None = None,
    out: str | os.PathLike[str] | None = None,
    report: Objective | Sequence[Objective] = (),
    holdout: float = 0.5,
    seed: int = 0,
    halving: bool | None = None,
    batch: int = 1,
    crashes: int = 5,
    resume: bool = False,
    overwrite: bool = False,
    data: Data | None = None,
    top: int | None = None,
    max_memory: str | int | None = None,
    build: Build | None = None,
    executor: Executor | Literal["ray"] | None = None,
    address: str | None = None,
    threads: int | None = None,
    progress: Told | None = None,
) -> SearchResult:
    """Fill the holes of a recipe with what is worth most (docs/search.md).

    Candidates are merged in memory and never written. Half of the objective's rows, or a task of its own, is kept for
    the report: no choice is made on them.

    Args:
        recipe: a recipe with holes; for soups one without will do, whose models are then included or not.
        objective: what to maximise: scorers, task files or `module:function`; of several the mean, for `nsga2` each.
        strategy: `grid`, `random`, `sobol`, `tpe`, `cma-es`, `nsga2`, `coordinate`, `uniform-soup`, `greedy-soup` or
            `learned-soup`.
        trials: candidates at most, repeated and failed ones included; 100 where a strategy knows no end.
        out: folder for the best recipe, the journal and the result; nothing is written without it.
        report: tasks for the report, one for each objective; without them a share of the objective's rows.
        holdout: that share, in (0, 1).
        seed: of the strategy, the draw of rows and random masks; any integer.
        halving: stop candidates that are in the worse half on a quarter, then on half of the rows; on by default for
            `grid`, `random`, `sobol` and `tpe`.
        batch: candidates that are asked for at a time.
        crashes: failures in a row after which the search ends with an error.
        resume: go on with the search that is in `out`.
        overwrite: begin anew in a folder that holds a search.
        data: for `learned-soup`: what `learn` learns on, with labels.
        top: for `pool`: most members.
        max_memory: most memory, in bytes or as `"8GiB"`; half of what is free without it.
        build: makes what the scorers run from a candidate; a model of transformers without it.
        executor: `ray`, workers of a Ray cluster, which open the models once each and evaluate a `batch` together; or a
            function that evaluates a batch. One after the other in this process without it.
        address: for `ray`, the cluster, as for `merge`.
        threads: for `ray`, threads and CPUs of a worker, 1 if not given; `max_memory` is then that of a worker too.
        progress: called with trials done, trials in all and a text.

    Raises:
        UsageError: an argument is wrong, a strategy does not fit the recipe, or a library is not installed.
        RecipeError: all faults of the recipe and its holes.
        InputError: models that are missing or do not fit each other.
        OutputExists: `out` holds a search, or something else.
        ResourceError: too little memory or disk; a journal of another search.
        CheckFailed: all trials failed, or too many in a row; the journal holds why.
    """
    from cuvee.searching.strategy import STRATEGIES

    known = (*STRATEGIES, "learned-soup")
    refuse(
        [
            *number_faults(seed=seed, trials=trials, batch=batch, crashes=crashes, top=top),
            *switch_faults(resume=resume, overwrite=overwrite, **({} if halving is None else {"halving": halving})),
            *callback_faults(progress),
            *_share_faults(holdout),
            *_strategy_faults(strategy, known, data),
            *_far_faults(executor, address, threads, build),
        ]
    )
    objectives = as_scorers(objective, "objective")
    given = [] if isinstance(report, Sequence) and not isinstance(report, str) and not report else [report]
    reports = as_scorers(report, "report") if given else ()
    refuse(_report_faults(len(objectives), len(reports)))
    from cuvee.api.search_ray import Far
    from cuvee.api.search_run import Asked, carry_out

    asked = Asked(
        objectives=objectives,
        reports=reports,
        strategy=strategy,
        trials=trials,
        holdout=holdout,
        seed=seed,
        halving=halving,
        batch=batch,
        crashes=crashes,
        top=top,
        limit=_limit(max_memory),
        build=build,
        executor=Far(address, threads or 1) if executor == "ray" else executor,
        progress=progress,
    )
    target = _target(out, resume=resume, overwrite=overwrite)
    space = _learned(recipe, data, seed) if data is not None else space_of(recipe, soup=strategy in _SOUPS)
    own = [Path(recipe)] if isinstance(recipe, str | os.PathLike) else []
    return carry_out(space, asked, target, resume=resume, overwrite=overwrite, read=own)


def space_of(recipe: AnyRecipe, *, soup: bool = False) -> Space:
    """A recipe with holes, read and checked.

    Args:
        recipe: a file, a mapping or a recipe.
        soup: let every model of the list be left out, where the recipe has no holes.

    Raises:
        UsageError: it is none of these.
        RecipeError: all faults; `no-holes` where there is nothing to search.
    """
    from cuvee.searching.reading import read_space

    documents, root, file = _documents(recipe)
    from cuvee.recipe.holes import holes_in

    if soup and len(documents) == 1 and not any(True for _ in holes_in(documents[0].data)):
        documents = [replace(documents[0], data=_with_switches(documents[0].data))]
    space = read_space(documents, root, file)
    if not space.holes:
        hint = "write `{search: [0, 1]}` or `{choose: [a, b]}` in the place of a value (docs/search.md)"
        message = f"{file or 'the recipe'} should have a hole to be searched; found none"
        raise RecipeError(Fault("no-holes", message, hint=hint))
    return space


def _documents(recipe: object) -> tuple[list[Any], Path | None, Path | None]:
    """The documents of a recipe, the folder that its paths start from, and its file."""
    from cuvee.recipe.files import documents_in
    from cuvee.recipe.parse import document_from

    if isinstance(recipe, Recipe):
        return [document_from(to_data(recipe))], recipe.root, None
    if isinstance(recipe, Mapping):
        return [document_from(recipe)], None, None
    if not isinstance(recipe, str | os.PathLike):
        raise UsageError(unfit("recipe", "a recipe, a mapping with its keys, or the path of its file", recipe))
    file = as_path(recipe, "recipe", "a recipe must be a file's name")
    return documents_in(str(file)), file.absolute().parent, file


def _with_switches(data: Any) -> Any:
    """The data with a switch for every model of the list; what has another form is refused when it is read."""
    models = data.get("models") if isinstance(data, Mapping) else None
    if not isinstance(models, list):
        return data
    switch = {"choose": [True, False]}
    return {**data, "models": [{**one, "include": switch} if isinstance(one, Mapping) else one for one in models]}


def _learned(recipe: AnyRecipe, data: Data, seed: int) -> Space:
    """The space of one candidate: the soup that `learn` learns."""
    from cuvee.api.learning import learn
    from cuvee.recipe.parse import document_from
    from cuvee.searching.reading import read_space

    learned = learn(recipe, data=data, objective="cross-entropy", seed=seed).recipe
    return read_space([document_from(to_data(learned))], learned.root)


def _far_faults(executor: object, address: object, threads: object, build: object) -> list[Fault]:
    from cuvee.api.search_ray import far_faults

    return far_faults(executor, address, threads, build)


def _share_faults(holdout: object) -> list[Fault]:
    good = isinstance(holdout, int | float) and not isinstance(holdout, bool) and 0 < holdout < 1
    message = f"`holdout` must be a share above 0 and below 1; found {holdout!r:.40}"
    return [] if good else [Fault("bad-argument", message, subject="holdout")]


def _strategy_faults(strategy: object, known: Sequence[str], data: object) -> list[Fault]:
    from cuvee.errors import nearest

    if not isinstance(strategy, str) or strategy not in known:
        message = f"there is no strategy `{strategy}`"
        return [Fault("bad-argument", message, subject="strategy", hint=nearest(str(strategy), known))]
    if (strategy == "learned-soup") != (data is not None):
        message = "`data` is what a learned soup is learned on, and goes with `learned-soup` only"
        return [Fault("bad-argument", message, subject="data")]
    return []


def _report_faults(objectives: int, reports: int) -> list[Fault]:
    if reports in (0, objectives):
        return []
    message = f"`report` should name a task for each of the {objectives} objectives; found {reports}"
    return [Fault("bad-argument", message, subject="report")]


def _limit(max_memory: str | int | None) -> int | None:
    from cuvee.checkpoint import parse_size

    return None if max_memory is None else parse_size(max_memory)


def _target(out: str | os.PathLike[str] | None, *, resume: bool, overwrite: bool) -> Path | None:
    if resume and overwrite:
        refuse([Fault("bad-argument", "`resume` and `overwrite` exclude each other; found both", subject="resume")])
    if out is None and resume:
        refuse([Fault("bad-argument", "`resume` goes on with a search in `out`; found none", subject="out")])
    return None if out is None else as_output(out, "the output must be a folder")


def search_pool(
    models: Sequence[str | os.PathLike[str]],
    objective: Objective | Sequence[Objective],
    *,
    top: int | None = None,
    bases: Sequence[str | os.PathLike[str]] = (),
    trials: int = TRIALS,
    dtype: str | None = None,
    **how: Any,
) -> SearchResult:
    """Pick members, base and method of a merge from a pool of models, and settings, under a budget of evaluations.

    Every model is judged alone; members are added best first while the average does not fall; every base and method is
    tried on them, and what is left of the budget goes into the settings (docs/search.md).

    Args:
        models: two models or more.
        objective: as for `search`.
        top: most members; as many as help without it.
        bases: models that may be the base; without any, each model of the pool.
        trials: evaluations at most.
        dtype: float dtype of the result.
        **how: `out`, `report`, `holdout`, `seed`, `crashes`, `resume`, `overwrite`, `max_memory`, `build`, `executor`,
            `address`, `threads` and `progress`, as for `search`.

    Raises:
        UsageError: fewer than two models, or as for `search`.
        RecipeError, InputError, OutputExists, ResourceError, CheckFailed: as for `search`.
    """
    from cuvee.searching.pool import pool_recipe

    named = [str(as_path(one, "models", "a model must be a path")) for one in models]
    wrong = []
    if len(set(named)) < 2 or len(set(named)) < len(named):
        message = f"a pool should be two different models or more; found {', '.join(named) or 'none'}"
        wrong.append(Fault("bad-argument", message, subject="models"))
    refuse(wrong)
    choice = [str(as_path(one, "bases", "a base must be a path")) for one in bases] or named
    data = pool_recipe(named, choice, dtype)
    return search(data, objective, strategy="pool", trials=trials, top=top, **how)
