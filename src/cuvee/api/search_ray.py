"""A search whose candidates are evaluated by workers of a Ray cluster, which open the models once each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import unfit
from cuvee.api.cellars import opened_stock
from cuvee.api.nesting import leaves_of
from cuvee.api.objectives import furnish
from cuvee.api.search_bench import Bench
from cuvee.errors import Fault, ResourceError, UsageError, integer_faults, listed
from cuvee.recipe import Recipe
from cuvee.searching.parents import recipes_at_ends
from cuvee.searching.rows import Draw
from cuvee.searching.seat import Seats, built_by_transformers
from cuvee.searching.space import Space
from cuvee.searching.trials import Executor, Job, Outcome, one_by_one, outcome_of

if TYPE_CHECKING:
    from cuvee.api.search_run import Asked
    from cuvee.execute.ray_tasks import RayWorkers

_PACKAGES = ("cuvee", "torch")


@dataclass(frozen=True, slots=True)
class Far:
    """Workers of a Ray cluster.

    Attributes:
        address: of the cluster, as for `ray_crew`.
        threads: threads, and so CPUs, of each worker.
    """

    address: str | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Told:
    """What every worker is told; it can be pickled.

    Attributes:
        recipes: those of the space with every hole at its ends, to be opened and planned with.
        rows: the objectives with their rows.
        paths: models that are files and folders; one that a worker does not see must not be taken for that of the hub.
        facts: what the models are known by where the search was started.
        versions: of packages there.
        seed: of random masks.
        limit: most memory of a worker, in bytes, if it was given.
        workers: how many there are, which may all be on one machine.
        threads: threads of torch in each.
    """

    recipes: tuple[Recipe, ...]
    rows: tuple[Draw, ...]
    paths: tuple[Path, ...]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    limit: int | None
    workers: int
    threads: int


def far_faults(executor: object, address: object, threads: object, build: object) -> list[Fault]:
    """What is wrong with how candidates should be evaluated."""
    faults: list[Fault] = []
    if not (executor is None or executor == "ray" or callable(executor)):
        faults.append(unfit("executor", "`ray`, or a function that evaluates a batch", executor))
    for name, value in (("address", address), ("threads", threads)):
        if value is not None and executor != "ray":
            message = f"`{name}` is that of a Ray cluster, and candidates are evaluated by this process"
            hint = "add --executor ray, or leave it out"
            faults.append(Fault("bad-argument", message, subject=name, hint=hint))
    if address is not None and not (isinstance(address, str) and address):
        faults.append(unfit("address", "the address of a Ray cluster, `auto` or `local`", address))
    if threads is not None:
        faults += integer_faults("threads", threads, least=1)
    if executor == "ray" and build is not None:
        message = "`build` makes what scorers run in this process, and is not sent to the workers of a Ray cluster"
        faults.append(Fault("bad-argument", message, subject="build", hint="leave out one of the two"))
    return faults


@contextmanager
def executor_for(asked: Asked, space: Space, rows: Sequence[Draw], facts: Mapping[str, Any]) -> Iterator[Executor]:
    """What evaluates batches: this process, what the caller gave, or workers that are there for as long as the block.

    Args:
        asked: how the search was asked for.
        space: what is searched.
        rows: the objectives with their rows.
        facts: what the models are known by here.

    Raises:
        UsageError: Ray is not installed; an objective cannot be sent to a worker.
        ResourceError: there is no cluster, or its workers do not see what this process sees.
    """
    if not isinstance(asked.executor, Far):
        yield asked.executor or one_by_one
        return
    from cuvee.execute.ray_tasks import RayWorkers, ray_crew

    with ray_crew(asked.executor.address, asked.executor.threads) as crew:
        count = max(1, min(asked.batch, crew.workers))
        recipes = tuple(map(portable, recipes_at_ends(space)))
        told = Told(
            recipes=recipes,
            rows=tuple(rows),
            paths=tuple(dict.fromkeys(path for recipe in recipes for path in _paths(recipe))),
            facts=facts,
            versions={name: version(name) for name in _PACKAGES},
            seed=asked.seed,
            limit=asked.limit,
            workers=count,
            threads=asked.executor.threads,
        )
        workers = RayWorkers(_sent(told), count, asked.executor.threads)
        try:
            yield partial(_evaluated, workers)
        finally:
            workers.end()


def _evaluated(workers: RayWorkers, _evaluate: Callable[[Job], Outcome], jobs: Sequence[Job]) -> list[Outcome]:
    from cuvee.execute.ray_tasks import packed

    return workers.do_all([packed(replace(job, recipe=portable(job.recipe))) for job in jobs], _lost)


def _lost(why: str) -> Outcome:
    return Outcome(error=f"the worker that evaluated it died, and so did a second one that was given it: {why}")


def _sent(told: Told) -> bytes:
    """What workers are made of.

    Raises:
        UsageError: `bad-argument`, for every objective that cannot be sent.
    """
    from cuvee.execute.ray_tasks import packed

    faults = []
    for draw in told.rows:
        try:
            packed(draw.scorer)
        except TypeError as error:
            message = f"the task `{draw.scorer.name}` cannot be sent to workers: {error}"
            hint = "keep files, locks, models and the like out of it: what `score` needs, it can make when it is called"
            faults.append(Fault("bad-argument", message, subject="objective", hint=hint))
    if faults:
        raise UsageError(faults)
    return packed(partial(evaluator, told))


def portable(recipe: Recipe) -> Recipe:
    """A recipe as a worker needs it: without places of its file, and with paths that start from an absolute folder."""
    inner = {name: portable(one) for name, one in recipe.nested.items()}
    return replace(recipe, locate=None, root=(recipe.root or Path()).absolute(), nested=inner)


def _paths(recipe: Recipe) -> Iterator[Path]:
    """The models of a recipe that are here as files and folders."""
    from cuvee.checkpoint.folder import local_path, task_of_pack
    from cuvee.types import scheme_of

    for ref, root in leaves_of(recipe):
        if scheme_of(ref.path) is not None:
            continue
        packed = task_of_pack(ref.path, root)
        path = local_path(ref.path, root) if packed is None else packed[0]
        yield from [path] if os.path.lexists(path) else []


def evaluator(told: Told) -> Callable[[Job], Outcome]:
    """What evaluates a job in this process, which opens the models now and keeps them.

    Raises:
        ResourceError: `not-shared` or `worker-mismatch`: models, or versions, are not those of where it was started.
        CuveeError: the models cannot be opened, or do not fit into memory.
    """
    import torch

    _check_versions(told)
    if unseen := [str(path) for path in told.paths if not os.path.lexists(path)]:
        message = f"a worker does not see {listed(unseen)}"
        hint = "the models must be on a file system that all machines of the cluster share"
        raise ResourceError(Fault("not-shared", message, subject=unseen[0], hint=hint))
    torch.set_num_threads(told.threads)
    kept = ExitStack()  # never closed: it lasts as long as the process
    stock = kept.enter_context(opened_stock(told.recipes, seed=told.seed, limit=told.limit, workers=told.workers))
    furnish([draw.scorer for draw in told.rows], stock.folders)
    if changed := [name for name, fact in stock.facts.items() if told.facts.get(name, fact) != fact]:
        message = f"a worker sees another {listed(changed)} than the process that began the search"
        raise ResourceError(
            Fault("worker-mismatch", message, subject=changed[0], hint="models must not change meanwhile")
        )
    bench = Bench(stock.cellar, Seats(built_by_transformers), told.rows, ())

    def evaluate(job: Job, _kept: ExitStack = kept) -> Outcome:
        return outcome_of(bench.judge, job)

    return evaluate


def _check_versions(told: Told) -> None:
    own = {name: version(name) for name in told.versions}
    wrong = [f"{name} {own[name]} instead of {theirs}" for name, theirs in told.versions.items() if own[name] != theirs]
    if wrong:
        message = f"a worker has {listed(wrong)}"
        hint = "install the same versions on all machines of the cluster"
        raise ResourceError(Fault("worker-mismatch", message, hint=hint))
