"""`cuvee search`: fill the holes of a recipe with what is worth most."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.failures import Interrupted
from cuvee.cli.options import COMMON, Common, MaxMemory, Out, Seed, Switch, Threads
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, table
from cuvee.cli.words import counted, duration

if TYPE_CHECKING:
    from cuvee.searching.journal import Trial
    from cuvee.searching.outcome import SearchResult

_SHOWN = 10
"""Trials in the table."""
_HOLES = 6
"""Holes in the table."""

Several = Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)]
Strategy = Literal[
    "grid",
    "random",
    "sobol",
    "tpe",
    "cma-es",
    "nsga2",
    "coordinate",
    "uniform-soup",
    "greedy-soup",
    "learned-soup",
]


def search(
    recipe: Path | None = None,
    /,
    *,
    out: Out,
    objective: Annotated[list[str], Parameter(negative=())],
    strategy: Strategy | None = None,
    trials: Annotated[Seed | None, Parameter(validator=Number(gte=1))] = None,
    report: Annotated[list[str] | None, Parameter(negative=())] = None,
    holdout: float = 0.5,
    seed: Seed = 0,
    halving: Annotated[bool | None, Parameter(negative="--no-halving")] = None,
    batch: Annotated[Seed, Parameter(validator=Number(gte=1))] = 1,
    crashes: Annotated[Seed, Parameter(validator=Number(gte=1))] = 5,
    data: str | None = None,
    pool: Several = None,
    base: Several = None,
    top: Annotated[Seed | None, Parameter(validator=Number(gte=1))] = None,
    executor: Literal["here", "ray"] = "here",
    address: str | None = None,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    resume: Switch = False,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Fill the holes of a recipe with what is worth most.

    A hole stands where a value would: `{search: [0, 1]}` or `{choose: [a, b]}`,
    and `include: {choose: [true, false]}` beside a model. Candidates are merged
    in memory. Half of the objective's rows are kept for the report, and the
    result says what was found there, beside the best model by itself and the
    plain average. The folder then holds best.yml, which `cuvee merge` carries
    out, journal.jsonl and result.json; see docs/search.md.

    For example:

        cuvee search recipe.yml --objective task.yml --trials 200 -o found
        cuvee search recipe.yml --objective task.yml -o found --resume
        cuvee search soup.yml --objective mine:task --strategy greedy-soup -o s
        cuvee search recipe.yml --objective task.yml --executor ray --batch 8 -o s
        cuvee search --pool a b c d --top 3 --objective task.yml -o found

    Args:
        recipe: The recipe file with holes.
        out: The folder to write.
        objective: The file of a task, or MODULE:FUNCTION, which makes a scorer;
            once for each of several.
        strategy: How to search: cma-es by default.
        trials: Candidates at most; 100 where a strategy knows no end.
        report: A task for the report, once for each objective; without it a
            share of the objective's rows is kept for that.
        holdout: That share.
        seed: Seed of the strategy, the draw of rows and random masks.
        halving: Stop candidates that are hopeless on a quarter or half of the
            rows; by default for grid, random, sobol and tpe.
        batch: Candidates that are asked for at a time.
        crashes: Failures in a row after which the search ends.
        data: For learned-soup: a file of JSON lines to learn on.
        pool: Instead of a recipe: models to pick members, base and method from.
        base: Models of which one may be the base of a pool; all of it without.
        top: Most members picked from a pool.
        executor: This process, or `ray`: workers on a Ray cluster, each with the
            models, which evaluate the candidates of a batch side by side.
        address: The Ray cluster: host:port, `auto` for the one that is running, or
            `local` to start one on this machine for this command.
        threads: Threads and CPUs of one Ray worker.
        max_memory: Most memory, such as 8GiB; half of what is free without it. Of
            one worker with Ray.
        resume: Go on with the search that is in the folder.
        overwrite: Begin anew in a folder that holds a search.
        common: How to print.
    """
    _check_words(recipe, strategy, pool, base, top)
    how: dict[str, Any] = {
        "objective": objective,
        "out": out,
        "report": report or (),
        "holdout": holdout,
        "seed": seed,
        "crashes": crashes,
        "executor": None if executor == "here" else executor,
        "address": address,
        "threads": threads,
        "max_memory": max_memory,
        "resume": resume,
        "overwrite": overwrite,
    }
    own = {"strategy": strategy or "cma-es", "halving": halving, "batch": batch, "data": data}
    start = time.perf_counter()
    result = _searched(recipe, pool, base, top, trials, how, own)
    seconds = time.perf_counter() - start
    return deliver(Answer("search", _data(result, seconds), _text(result, seconds), notes=result.notes), common)


def _check_words(
    recipe: Path | None,
    strategy: str | None,
    pool: list[str] | None,
    base: list[str] | None,
    top: int | None,
) -> None:
    from cuvee.errors import Fault, UsageError

    if (recipe is None) == (not pool):
        message = "either a RECIPE or models with --pool should be searched"
        raise UsageError(Fault("bad-argument", message, subject="recipe"))
    if pool and strategy is not None:
        raise UsageError(Fault("bad-argument", "a pool has a strategy of its own", subject="strategy"))
    if not pool and (base or top is not None):
        raise UsageError(Fault("bad-argument", "--base and --top go with --pool", subject="base"))


def _searched(
    recipe: Path | None,
    pool: list[str] | None,
    base: list[str] | None,
    top: int | None,
    trials: int | None,
    how: dict[str, Any],
    own: dict[str, Any],
) -> SearchResult:
    """Search, and say how to go on where that is interrupted."""
    from cuvee import api

    try:
        with metered("searching", "trial") as meter:
            if pool:
                budget = api.TRIALS if trials is None else trials
                return api.search_pool(pool, bases=base or (), top=top, trials=budget, progress=meter, **how)
            assert recipe is not None, "checked before"
            return api.search(recipe, trials=trials, progress=meter, **how, **own)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; what was tried is in {how['out']}, and --resume goes on from there") from None


def _data(result: SearchResult, seconds: float) -> dict[str, Any]:
    log = {key: value for key, value in result.log.items() if key != "schema"}
    return {"path": result.path, "seconds": round(seconds, 3), **log}


def _text(result: SearchResult, seconds: float) -> Iterator[RenderableType]:
    yield from _tables(result)
    yield ""
    yield f"trial {result.best} is the best: {result.search} where it was searched"
    yield f"on rows held out: {result.held_out}; the search flatters itself by {result.optimism}"
    for name, label in (("best_parent", "best model by itself"), ("uniform", "plain average")):
        if (other := result.log[name]) is not None:
            yield f"{label} ({other['model']}), held out: {_figure(other['held_out'])}"
            yield f"    the result is {other['best_is']}: more by {_figure(other['best_is_more_by'])}"
    if len(result.pareto) > 1:
        yield f"trials that no other beats in every objective: {', '.join(map(str, result.pareto))}"
    done = f"{counted(len(result.trials), 'trial')}, {result.log['evaluations']} evaluated now, in {duration(seconds)}"
    yield f"{done}; written to {result.path}; `cuvee merge {result.path}/best.yml -o merged` makes the model"


def _tables(result: SearchResult) -> Iterator[RenderableType]:
    """The best trials, and the values of the best where they are too many for columns."""
    first = [trial for trial in result.trials if trial.is_whole and trial.of is None]
    ranked = sorted(first, key=lambda trial: -(trial.gain or 0.0))[:_SHOWN]
    holes = list(result.values)
    shown = holes if len(holes) <= _HOLES else []
    yield table(
        [Column("trial"), Column("gain"), *(Column(name) for name in shown)],
        ([str(trial.number), _gain(trial), *(_value(trial.values[name]) for name in shown)] for trial in ranked),
    )
    if not shown:
        yield ""
        yield table([Column("hole"), Column("best")], ([name, _value(result.values[name])] for name in holes))


def _gain(trial: Trial) -> str:
    return "" if trial.gain is None else f"{trial.gain:.4f}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figure(figure: dict[str, Any]) -> str:
    error = "" if figure["stderr"] is None else f" ± {figure['stderr']:.4f}"
    return f"{figure['value']:.4f}{error}"
