"""What came of a search: the best recipe, what it was worth there, and on rows that nothing was chosen on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.single_file import write_single
from cuvee.recipe import Recipe, to_yaml
from cuvee.searching.grading import Estimate, difference, overall, verdict
from cuvee.searching.journal import Trial
from cuvee.types import Cite, Score

SCHEMA: Final = 1
RECIPE: Final = "best.yml"
RESULT: Final = "result.json"

CITES: Final[Mapping[str, tuple[Cite, ...]]] = {
    "random": (Cite("Bergstra and Bengio 2012, Random search for hyper-parameter optimization"),),
    "tpe": (Cite("Bergstra et al. 2011, Algorithms for hyper-parameter optimization"),),
    "cma-es": (
        Cite("Hansen 2016, The CMA evolution strategy: a tutorial", arxiv="1604.00772"),
        Cite("Akiba et al. 2024, Evolutionary optimization of model merging recipes", arxiv="2403.13187"),
    ),
    "nsga2": (Cite("Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II"),),
    "uniform-soup": (Cite("Wortsman et al. 2022, Model soups", arxiv="2203.05482"),),
    "greedy-soup": (Cite("Wortsman et al. 2022, Model soups", arxiv="2203.05482"),),
    "pool": (Cite("Wortsman et al. 2022, Model soups", arxiv="2203.05482"),),
}


@dataclass(frozen=True, slots=True)
class Held:
    """A model on the rows of the search and on those of the report.

    Attributes:
        name: what it is: a model of the recipe, `uniform` or `best`.
        search: scores on the rows that were searched on.
        report: scores on rows that nothing was chosen on.
    """

    name: str
    search: tuple[Score, ...]
    report: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What came of a search.

    Attributes:
        recipe: the best one, without holes.
        values: what stands in its holes.
        trials: everything that was tried, by number.
        best: the number of the best trial.
        search: its mean gain on the rows that were searched on; larger is better, so negated where lower is.
        held_out: the same on the rows of the report.
        optimism: search less held-out: what the search flatters itself by.
        gap: how much more it is worth than the best parent, on the rows of the report, by paired differences.
        verdict: `better`, `worse` or `within noise`.
        pareto: numbers of the trials that no other is better than in every objective.
        log: all of this and more, ready for JSON.
        notes: what the user should know.
        path: the folder that was written, if any.
    """

    recipe: Recipe
    values: Mapping[str, Any]
    trials: tuple[Trial, ...]
    best: int
    search: Estimate
    held_out: Estimate
    optimism: Estimate
    gap: Estimate | None
    verdict: str | None
    pareto: tuple[int, ...]
    log: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    path: Path | None = None


def pareto(trials: Sequence[Trial]) -> tuple[int, ...]:
    """The trials on all rows that no other is better than: as good in every objective, and better in one."""
    whole = [t for t in trials if t.is_whole and t.of is None and t.gains is not None]

    def beaten(one: Trial) -> bool:
        own = one.gains or ()
        return any(all(a >= b for a, b in zip(other.gains or (), own)) and other.gains != one.gains for other in whole)

    return tuple(trial.number for trial in whole if not beaten(trial))


def is_constant(trials: Sequence[Trial]) -> bool:
    """Whether several different candidates were all worth exactly the same."""
    found = [trial.gains for trial in trials if trial.is_whole and trial.of is None]
    return len(found) > 1 and len(set(found)) == 1


def optimism(best: Held) -> Estimate:
    """Search less held-out; the rows are different ones, so the errors add up."""
    search, report = overall(best.search), overall(best.report)
    return Estimate(search.value - report.value, math.hypot(search.stderr, report.stderr))


def best_parent(parents: Sequence[Held]) -> Held | None:
    """The parent that the rows of the search favour: chosen there, as the result was, so that neither is flattered."""
    return max(parents, key=lambda one: overall(one.search).value, default=None)


def log_of(
    asked: Mapping[str, Any],
    trials: Sequence[Trial],
    best: Trial,
    held: Mapping[str, Held | None],
    parents: Sequence[Held],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Everything, ready for JSON.

    Args:
        asked: how the search was asked for.
        trials: all of them.
        best: the best of them.
        held: `best`, `best_parent` and `uniform` on both draws.
        parents: every parent.
        notes: what the user should know.
    """
    ours = held["best"]
    assert ours is not None
    rivals = {name: _rival(ours, one) for name, one in held.items() if name != "best"}
    return {
        "schema": SCHEMA,
        **asked,
        "trials": dict(Counter(trial.state for trial in trials)),
        "best": {"trial": best.number, "values": dict(best.values), "recipe_sha256": best.recipe, **_told(ours)},
        "optimism": _figure(optimism(ours)),
        **rivals,
        "parents": [{"model": one.name, **_told(one)} for one in parents],
        "pareto": [{"trial": n, "gains": trials[n].gains, "values": trials[n].values} for n in pareto(trials)],
        "constant_objective": is_constant(trials),
        "notes": list(notes),
        "citations": [asdict(cite) for cite in CITES.get(str(asked.get("strategy")), ())],
    }


def _rival(ours: Held, theirs: Held | None) -> dict[str, Any] | None:
    if theirs is None:
        return None
    gap = difference(ours.report, theirs.report)
    return {"model": theirs.name, **_told(theirs), "best_is_more_by": _figure(gap), "best_is": verdict(gap)}


def _told(one: Held) -> dict[str, Any]:
    return {
        "search": _figure(overall(one.search)),
        "held_out": _figure(overall(one.report)),
        "tasks": [_task(score, "search") for score in one.search] + [_task(score, "held_out") for score in one.report],
    }


def _task(score: Score, rows: str) -> dict[str, Any]:
    told_of = {"metric": score.metric, "rows": rows, "n": score.n, "direction": score.direction}
    return {**told_of, **_figure(Estimate(score.value, score.stderr))}


def _figure(one: Estimate) -> dict[str, float | None]:
    return {"value": one.value, "stderr": one.stderr if math.isfinite(one.stderr) else None}


def write_result(folder: Path, recipe: Recipe, log: Mapping[str, Any]) -> None:
    """Write the best recipe and the result, each complete or not at all.

    Raises:
        ResourceError: the system refuses.
    """
    write_single(folder / RECIPE, [to_yaml(recipe).encode("utf-8")], overwrite=True)
    text = json.dumps(log, indent=1, allow_nan=False) + "\n"
    write_single(folder / RESULT, [text.encode("utf-8")], overwrite=True)
