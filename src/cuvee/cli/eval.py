"""`cuvee eval`: models judged on tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.failures import failure_of, report
from cuvee.cli.options import COMMON, Common, Device, Switch, Whole, batch_size_of
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, table
from cuvee.cli.words import duration
from cuvee.errors import InputError

if TYPE_CHECKING:
    from cuvee.api import Evaluation
    from cuvee.types.scores import Score


def eval(
    *models: str,
    tasks: Annotated[list[str], Parameter(name="--tasks", consume_multiple=True, negative=())],
    batch_size: Annotated[str, Parameter(name="--batch-size")] = "auto",
    limit: Whole | None = None,
    seed: Whole | None = None,
    dtype: str = "float32",
    device: Device = "cpu",
    no_cache: Annotated[Switch, Parameter(name="--no-cache")] = False,
    common: Common = COMMON,
) -> int:
    """Judge models on tasks: scores with error bars, what is known not asked again.

    A task is a small YAML beside its data, or a Python function. All tasks and
    data are checked before a model runs. What goes wrong then costs one model on
    one task; the other scores are told, and what was answered is kept.

    For example:

        cuvee eval base expert merged --tasks sentiment.yml arithmetic.yml
        cuvee eval recipe.yml --tasks sentiment.yml     a merge that is not written
        cuvee eval merged --tasks judges.py:politeness

    Args:
        models: Model folders, hub ids, recipe files, or saved ensembles.
        tasks: Task files (docs/eval.md), `module:function` or `file.py:function`.
        batch_size: Rows run at once, or `auto`: as many as fit.
        limit: Most rows of every task, instead of what it says.
        seed: What they are drawn by, instead of what the task says.
        dtype: What models are run in.
        device: Where they are run: `cpu`, `cuda`, `cuda:1` and so on.
        no_cache: Ask everything anew, and keep nothing.
        common: How to print.
    """
    from cuvee import api

    with metered("judging", "row") as meter:
        made = api.evaluate(
            list(models),
            list(tasks),
            batch_size=batch_size_of(batch_size),
            limit=limit,
            seed=seed,
            dtype=dtype,
            device=device,
            cache=not no_cache,
            progress=meter,
        )
    error = made.failures[0].error if made.failures else None
    code = 0 if error is None else failure_of(error, "eval").exit_code
    notes = tuple(dict.fromkeys(note for one in made.judged for note in one.notes))
    deliver(Answer("eval", _data(made), _text(made), notes=notes), common)
    if made.failures and not common.json:
        report(InputError([fault for one in made.failures for fault in one.error.faults]), "eval", common)
    return code


def _data(made: Evaluation) -> dict[str, Any]:
    scores = [
        {
            "model": one.model,
            "task": one.task,
            "metric": score.metric,
            "value": score.value,
            "stderr": score.stderr,
            "n": score.n,
            "direction": score.direction,
            "seconds": None if one.cached else round(one.seconds, 3),
            "cached": one.cached,
        }
        for one in made.judged
        for score in one.scores
    ]
    failures = [
        {"model": one.model, "task": one.task, "code": fault.code, "message": fault.message, "hint": fault.hint}
        for one in made.failures
        for fault in one.error.faults
    ]
    return {"scores": scores, "failures": failures, "notes": [n for one in made.judged for n in one.notes]}


def _text(made: Evaluation) -> Iterator[RenderableType]:
    """A line for every score, and for every one that there is not: by task, then by metric, then by model."""
    columns = [Column("task"), Column("metric"), Column("model"), Column("value", True), Column("n", True)]
    rows = list(_rows(made))
    metrics = list(dict.fromkeys(metric for (_, metric, _), _ in rows))
    rows.sort(key=lambda row: (made.tasks.index(row[0][0]), metrics.index(row[0][1]), made.models.index(row[0][2])))
    gaps = {i for i in range(1, len(rows)) if rows[i][0][:2] != rows[i - 1][0][:2]}
    yield table([*columns, Column("time", True)], ([*names, *cells] for names, cells in rows), gaps)


def _rows(made: Evaluation) -> Iterator[tuple[tuple[str, str, str], list[str]]]:
    """Task, metric and model of every line, and what stands behind them."""
    for one in made.judged:
        took = "kept" if one.cached else duration(one.seconds)
        for score in one.scores:
            yield (one.task, score.metric, one.model), [shown(score), f"{score.n:,}", took]
    for failure in made.failures:
        yield (failure.task, "–", failure.model), ["failed", "–", "–"]


def shown(score: Score) -> str:
    """A score with its error bar and the better direction, with as many digits as the bar leaves.

    Example:
        >>> from cuvee.types.scores import Score
        >>> shown(Score("accuracy", 0.8125, 0.0312, 160, "higher"))
        '0.812 ± 0.031 ↑'
        >>> shown(Score("perplexity", 12.3456, math.nan, 9, "lower"))
        '12.35 ↓'
    """
    arrow = "↑" if score.direction == "higher" else "↓"
    if not math.isfinite(score.stderr):
        return f"{score.value:.4g} {arrow}"
    places = 3 if score.stderr == 0 else min(6, max(0, 1 - math.floor(math.log10(score.stderr))))
    return f"{score.value:.{places}f} ± {score.stderr:.{places}f} {arrow}"
