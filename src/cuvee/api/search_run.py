"""A search whose arguments and recipe are in order: open the models, try, judge what was found on rows held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cuvee.api.cellars import opened_stock
from cuvee.api.objectives import furnish, objective_notes
from cuvee.api.search_bench import Bench
from cuvee.api.search_folder import clear_results, prepared_folder
from cuvee.api.search_ray import Far, executor_for
from cuvee.errors import CheckFailed, Fault, UsageError
from cuvee.recipe import Recipe
from cuvee.searching import outcome
from cuvee.searching.grading import difference, overall, verdict
from cuvee.searching.grid import size
from cuvee.searching.journal import NAME, Journal, Trial
from cuvee.searching.outcome import Held, SearchResult
from cuvee.searching.parents import parents, recipes_at_ends, uniform
from cuvee.searching.pool import Pool
from cuvee.searching.rows import Draw, drawn, rungs
from cuvee.searching.seat import Build, Seats, built_by_transformers
from cuvee.searching.space import Space, fill
from cuvee.searching.strategy import OneByOne, Strategy, make_strategy
from cuvee.searching.trials import TRIALS, Executor, Search, Way
from cuvee.types import Scorer


@dataclass(frozen=True)
class Asked:
    """How a search was asked for; see `cuvee.search`."""

    objectives: tuple[Scorer, ...]
    reports: tuple[Scorer, ...]
    strategy: str
    trials: int | None
    holdout: float
    seed: int
    halving: bool | None
    batch: int
    crashes: int
    top: int | None
    limit: int | None
    build: Build | None
    executor: Executor | Far | None
    progress: Callable[[int, int, str], None] | None

    @property
    def most(self) -> int | None:
        """Trials at most."""
        ends = self.strategy in ("grid", "uniform-soup", "greedy-soup", "learned-soup")
        return self.trials if self.trials is not None or ends else TRIALS

    def expected(self, space: Space) -> int:
        """Trials that are to be expected."""
        models = len(space.switches)
        own = {"grid": size(space), "uniform-soup": 1, "learned-soup": 1, "greedy-soup": max(1, 2 * models - 1)}
        wanted = own.get(self.strategy, TRIALS)
        return wanted if self.most is None else min(self.most, own.get(self.strategy, self.most))


def carry_out(
    space: Space, asked: Asked, out: Path | None, *, resume: bool, overwrite: bool, read: Sequence[Path]
) -> SearchResult:
    """Search, judge and write.

    Args:
        space: what is searched.
        asked: how.
        out: the folder; nothing is written without it.
        resume: go on with the search that is there.
        overwrite: begin anew where one is.
        read: files that are read, and must not be replaced.

    Raises:
        CuveeError: as `cuvee.search` says.
    """
    strategy = _strategy(space, asked)
    search_rows, report_rows = drawn(asked.objectives, asked.reports, asked.holdout, asked.seed)
    halving = strategy.halves if asked.halving is None else asked.halving
    shares = rungs(search_rows, halving=halving)
    with opened_stock(recipes_at_ends(space), seed=asked.seed, limit=asked.limit) as stock:
        furnish([*asked.objectives, *asked.reports], stock.folders)
        header = _header(space, asked, search_rows, report_rows, shares, stock.facts)
        with executor_for(asked, space, search_rows, stock.facts) as executor:
            folder = prepared_folder(out, resume=resume, overwrite=overwrite, read=read)
            with Journal(None if folder is None else folder / NAME, header, resume=resume) as journal:
                clear_results(folder, resume=resume)
                bench = Bench(stock.cellar, Seats(asked.build or built_by_transformers), search_rows, report_rows)
                way = Way(asked.most, shares, asked.batch, asked.crashes, executor, _teller(asked, space))
                search = Search(space, strategy, bench.judge, journal, way)
                search.run()
                result = _result(space, asked, search, bench, header)
                if folder is not None:
                    result = replace(result, path=folder)
                    outcome.write_result(folder, _moved(result.recipe, folder), result.log)
    return result


def _strategy(space: Space, asked: Asked) -> Strategy:
    if asked.strategy == "pool" and asked.top is not None:
        made: Strategy = Pool(space, asked.top)
    else:
        made = make_strategy(_maker(asked.strategy), space, asked.seed, len(asked.objectives))
    if asked.halving and isinstance(made, OneByOne):
        message = f"`{asked.strategy}` goes from one candidate to the next by what they are worth on all rows"
        raise UsageError(Fault("bad-argument", message, subject="halving", hint="leave --halving out"))
    return made


def _maker(name: str) -> str:
    return "uniform-soup" if name == "learned-soup" else name


def _moved(recipe: Recipe, folder: Path) -> Recipe:
    from cuvee.planning.moving import moved

    return moved(recipe, folder.absolute())


def _header(
    space: Space,
    asked: Asked,
    search_rows: Sequence[Draw],
    report_rows: Sequence[Draw],
    shares: Sequence[float],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What a search is known by: what must be the same to go on with it."""
    return {
        "recipe": space.sha256,
        "models": dict(facts),
        "strategy": asked.strategy,
        "top": asked.top,
        "seed": asked.seed,
        "batch": asked.batch,
        "rungs": list(shares),
        "objectives": [_rows_told(draw) for draw in search_rows],
        "report": [_rows_told(draw) for draw in report_rows],
    }


def _rows_told(draw: Draw) -> dict[str, Any]:
    rows = hashlib.sha256(json.dumps(draw.rows).encode()).hexdigest()[:16]
    content = getattr(draw.scorer, "content", None)  # what a scorer of the user's own depends on cannot be told
    told = {"content": content} if isinstance(content, str) else {}
    return {"task": draw.scorer.name, "rows": len(draw.rows), "drawn": rows, **told}


def _teller(asked: Asked, space: Space) -> Callable[[Trial, Trial | None], None] | None:
    if (progress := asked.progress) is None:
        return None
    expected = asked.expected(space)

    def told(trial: Trial, best: Trial | None) -> None:
        done = trial.number + 1
        text = "" if best is None or best.gain is None else f"best {best.gain:.4f} in trial {best.number}"
        progress(done, max(done, expected), text)

    return told


def _result(space: Space, asked: Asked, search: Search, bench: Bench, header: Mapping[str, Any]) -> SearchResult:
    """Judge what was found, and what it is measured against, on rows that nothing was chosen on."""
    best = search.best
    if best is None:
        message = f"none of the {len(search.done)} trials was judged on all rows"
        raise CheckFailed(Fault("search-failed", message, hint="a larger number of trials, or halving off"))
    recipe = fill(space, best.values)
    ours = bench.held("best", recipe)
    notes: list[str] = []
    alone = parents(space)
    rivals = [one for name, r in alone.items() if (one := _tried(bench, name, r, notes)) is not None]
    average = uniform(alone)
    even = None if average is None else _tried(bench, "uniform", average, notes)
    rival = outcome.best_parent(rivals)
    notes += [*objective_notes(asked.objectives, bench.metrics), *_notes(search)]
    gap = None if rival is None else difference(ours.report, rival.report)
    measured = {"best": ours, "best_parent": rival, "uniform": even}
    told = {"cuvee": version("cuvee"), **header, "evaluations": search.evaluations}
    return SearchResult(
        recipe=recipe,
        values=best.values,
        trials=tuple(search.done),
        best=best.number,
        search=overall(ours.search),
        held_out=overall(ours.report),
        optimism=outcome.optimism(ours),
        gap=gap,
        verdict=None if gap is None else verdict(gap),
        pareto=outcome.pareto(search.done),
        log=outcome.log_of(told, search.done, best, measured, rivals, notes),
        notes=tuple(notes),
    )


def _tried(bench: Bench, name: str, recipe: Recipe, notes: list[str]) -> Held | None:
    """A model that the result is measured against; that it cannot be judged is no reason to lose the result."""
    try:
        return bench.held(name, recipe)
    except Exception as error:
        said = str(error).strip().splitlines()[:1]
        notes.append(f"{name} was not judged for comparison: {said[0] if said else type(error).__name__}")
        return None


def _notes(search: Search) -> Iterator[str]:
    failed = [trial.number for trial in search.done if trial.state == "failed" and trial.of is None]
    if failed:
        yield f"{len(failed)} of {len(search.done)} trials failed, trial {failed[0]} for one; the journal says why"
    if outcome.is_constant(search.done):
        yield "the objective is constant: all candidates were worth the same, and the first of them is the result"
    if isinstance(search.strategy, OneByOne) and search.strategy.ask() is not None:
        yield f"the search ended with its {len(search.done)} trials before the strategy had come to its end"
