"""`cuvee ladder`: the same models in every form that they can be combined in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, OUT, Common, Device, Seed, Switch, Whole
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, paragraph, table
from cuvee.cli.words import in_millions

if TYPE_CHECKING:
    from cuvee.judging.ladder import Ladder, Rung


def ladder(
    recipe: Path,
    /,
    *,
    tasks: Annotated[list[str], Parameter(name="--tasks", consume_multiple=True, negative=())],
    out: Annotated[Path | None, OUT] = None,
    chart: Path | None = None,
    base: str | None = None,
    soup: Literal["greedy", "uniform"] = "greedy",
    masks: Literal["emr", "tall"] = "emr",
    holdout: float = 0.5,
    loss: float = 0.0,
    seed: Seed = 0,
    draws: Annotated[Whole, Parameter(validator=Number(gte=100))] = 2000,
    level: float = 0.95,
    time_rows: Annotated[Whole, Parameter(name="--time-rows", validator=Number(gte=1))] = 32,
    no_times: Annotated[Switch, Parameter(name="--no-times")] = False,
    limit: Whole | None = None,
    dtype: str = "float32",
    device: Device = "cpu",
    no_cache: Annotated[Switch, Parameter(name="--no-cache")] = False,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Climb one ladder: best single, merge, soup, merge + masks, ensemble, cascade.

    The models of a recipe in every form that they can be combined in, judged on
    the same rows: what averaging cost, and what ensembling buys. Whatever is
    chosen (single, soup, masks, threshold) is chosen on one part of the rows and
    judged on the other. A rung that cannot be made says why.

    For example:

        cuvee ladder ties.yml --tasks sums.yml python.yml
        cuvee ladder ties.yml --tasks sums.yml --chart ladder.svg -o ladder.html

    Args:
        recipe: The recipe file: how the models are merged.
        tasks: Task files (docs/eval.md), `module:function` or `file.py:function`.
        out: An HTML page to write.
        chart: A picture to write, .svg or .png.
        base: What the models were fine-tuned from, where the recipe names no base.
        soup: An average of all models, or of those that a greedy choice keeps.
        masks: A pack by EMR, or TALL masks on what the recipe adds to its base.
        holdout: Share of the rows that the rungs are judged on.
        loss: What the cascade may lose against the ensemble where it is fitted.
        seed: Seed of the division of rows and of the draws.
        draws: How many times the rows are drawn again.
        level: Coverage of the intervals.
        time_rows: Rows of every task that times are measured on.
        no_times: Measure no times.
        limit: Most rows of every task, instead of what it says.
        dtype: What models are run in.
        device: Where they are run: `cpu`, `cuda`, `cuda:1` and so on.
        no_cache: Ask everything anew, and keep nothing.
        overwrite: Replace files that are there.
        common: How to print.
    """
    from cuvee import api

    files = api.ladder_files(out, chart, overwrite=overwrite)
    with metered("climbing", "step") as meter:
        found = api.ladder(
            recipe,
            tasks,
            base=base,
            soup=soup,
            masks=masks,
            holdout=holdout,
            loss=loss,
            seed=seed,
            draws=draws,
            level=level,
            time_rows=time_rows,
            timed=not no_times,
            progress=meter,
            asking={"limit": limit, "dtype": dtype, "device": device, "cache": not no_cache},
        )
    written = files.write(found, recipe.stem)
    data = {**found.as_data(), "files": [str(one) for one in written]}
    return deliver(Answer("ladder", data, text(found, written), notes=found.notes), common)


def text(found: Ladder, written: tuple[Path, ...] = ()) -> Iterator[RenderableType]:
    """All of it: a table of rungs, one of tasks, and what follows."""
    from cuvee.judging.ladder import words

    better = "higher is better" if found.direction == "higher" else "lower is better"
    yield f"{found.unit}, {better}"
    yield _rungs(found)
    made = [one for one in found.rungs if one.is_made]
    yield ""
    for rung in made:
        yield paragraph(f"{rung.name}: {rung.what}")
    for rung in found.rungs:
        if not rung.is_made:
            yield paragraph(f"{rung.name}: not made: {rung.why_not}")
    if len(found.tasks) > 1:
        yield ""
        yield _by_task(found, made)
    yield ""
    for sentence in words(found):
        yield paragraph(sentence)
    for file in written:
        yield f"written: {file}"


def _rungs(found: Ladder) -> RenderableType:
    columns = [Column("rung"), Column("score", True), Column("over best single", True), Column("parameters", True)]
    return table([*columns, Column("ms/row", True)], [_line(one) for one in found.rungs])


def _line(rung: Rung) -> list[str]:
    if rung.mean is None:
        return [rung.name, "not made", "–", "–", "–"]
    gain = rung.against
    bounds = "" if gain is None or gain.low != gain.low else f" [{gain.low:+.3f}, {gain.high:+.3f}]"
    seconds, held = rung.price.seconds_per_row, rung.price.parameters
    return [
        rung.name,
        _with_error(rung.mean, rung.stderr),
        "–" if gain is None else f"{gain.value:+.3f}{bounds}",
        "–" if held is None else in_millions(held),
        "–" if seconds is None else f"{1000 * seconds:.3g}",
    ]


def _by_task(found: Ladder, made: list[Rung]) -> RenderableType:
    """A line for each task, a column for each rung."""
    columns = [Column("task"), *(Column(one.name, True) for one in made)]
    rows = [
        [f"{task} ({metric})", *(f"{one.scores[task].value:.3f}" for one in made)]
        for task, metric in found.tasks.items()
    ]
    return table(columns, rows)


def _with_error(value: float, stderr: float) -> str:
    return f"{value:.3f}" if stderr != stderr else f"{value:.3f} ± {stderr:.3f}"
