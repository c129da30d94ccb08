"""`cuvee explain`: which component contributed?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import one_line
from cuvee.cli.options import COMMON, Common, MaxMemory, Seed, Whole
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, table
from cuvee.cli.words import counted, duration

if TYPE_CHECKING:
    from cuvee.explaining.explanation import Explanation, Explanations
    from cuvee.explaining.outcomes import Figure

_BUDGET: Final = 256
"""The same as `cuvee.api.BUDGET`; a test compares them."""


def explain(
    folder: Path,
    /,
    *,
    tasks: Annotated[list[str], Parameter(name="--tasks", consume_multiple=True, negative=())],
    layers: Annotated[Whole | None, Parameter(validator=Number(gte=1))] = None,
    ensemble: Annotated[bool | None, Parameter(negative="--no-ensemble")] = None,
    budget: Annotated[Whole, Parameter(validator=Number(gte=2))] = _BUDGET,
    seed: Seed = 0,
    limit: Annotated[Whole | None, Parameter(validator=Number(gte=1))] = None,
    root: Path | None = None,
    max_memory: MaxMemory = None,
    common: Common = COMMON,
) -> int:
    """Say what every model, or every group of layers, contributed to a merge.

    The merge in a folder is made again in memory without some of its models, and
    so is the ensemble of the same models, the mean of what they predict. Told are
    what is lost when one is left out, and its Shapley value: the mean of what it
    adds to every set of the others. Both are gains with 95 % intervals, and the
    Shapley values add up to what all are worth more than nothing.

    For example:

        cuvee explain merged --tasks sums.yml python.yml
        cuvee explain merged --tasks sums.yml --layers 4 --limit 200
        cuvee explain merged --tasks sums.yml --no-ensemble --json

    Args:
        folder: The folder of a merge, with its cuvee.json.
        tasks: Task files (docs/eval.md), `module:function` or `file.py:function`.
        layers: Also explain so many groups of layers, against the base's.
        ensemble: Also explain the ensemble; by default where that is possible.
        budget: Sets scored at most, for each of merge, layers and ensemble.
        seed: Seed of drawn sets, and of rows where there is a limit.
        limit: Most rows of every task, instead of what it says.
        root: The folder that the record's paths start from, if it is not found.
        max_memory: Most memory, such as 8GiB; half of what is free without it.
        common: How to print.
    """
    from cuvee import api

    start = time.monotonic()
    with metered("explaining", "set") as meter:
        found = api.explain(
            folder,
            tasks,
            layers=layers,
            ensemble=ensemble,
            budget=budget,
            seed=seed,
            limit=limit,
            root=root,
            max_memory=max_memory,
            progress=meter,
        )
    text = _text(found, time.monotonic() - start)
    return deliver(Answer("explain", found.as_data(), text, notes=found.notes), common)


def _text(found: Explanations, seconds: float) -> Iterator[RenderableType]:
    """A table for each task and kind of parts, merge and ensemble one below the other."""
    kinds = dict.fromkeys((one.of, one.task) for one in found.explanations)
    for of, task in kinds:
        several = [one for one in found.explanations if (one.of, one.task) == (of, task)]
        first = several[0]
        rows = f"{first.metric} over {counted(first.n, 'row')}"
        yield Text(one_line(f"{task}: what {of} contribute to {rows}"), style="bold")
        for one in several:
            yield Text(one_line(_whole(one)))
        yield _table(several)
        yield ""
    if any(f.is_doubtful for one in found.explanations for p in one.parts for f in (p.shapley, p.leave_one_out)):
        yield "~ fewer than 6 rows make the difference: the interval is too narrow"
    yield from _ways(found)
    yield f"in {duration(seconds)}; docs/explain.md says what the figures mean"


def _whole(one: Explanation) -> str:
    arrow = "" if one.direction == "higher" else ", lower is better"
    return f"{one.subject}: {_score(one.whole)}; {one.nothing_is}: {_score(one.nothing)}{arrow}"


def _table(several: Sequence[Explanation]) -> RenderableType:
    columns = [Column(""), Column("part"), Column("Shapley", True), Column("left out", True), Column("alone", True)]
    rows: list[list[str]] = []
    gaps: set[int] = set()
    for one in several:
        gaps.add(len(rows))
        short = _short([part.name for part in one.parts])
        for part in one.parts:
            alone = "–" if part.alone is None else f"{part.alone.value:.3f}"
            figures = [_gain(part.shapley), _gain(part.leave_one_out), alone]
            rows.append([one.subject, short[part.name], *figures])
    return table(columns, rows, gaps - {0})


def _ways(found: Explanations) -> Iterator[str]:
    """What the figures rest on."""
    for one in {(o.subject, o.of): o for o in found.explanations}.values():
        if one.exact:
            yield f"{one.subject} by {one.of}: all {counted(one.coalitions, 'set')} scored"
        else:
            sets = f"{counted(one.coalitions, 'set')} of {counted(one.permutations or 0, 'drawn order')}"
            yield f"{one.subject} by {one.of}: {sets}, whose error is in the intervals"


def _short(names: Sequence[str]) -> dict[str, str]:
    """The last part of each path, where that tells them apart."""
    last = {name: PurePath(name).name or name for name in names}
    return last if len(set(last.values())) == len(names) else {name: name for name in names}


def _score(figure: Figure) -> str:
    return f"{figure.value:.3f}" if math.isnan(figure.stderr) else f"{figure.value:.3f} ± {figure.stderr:.3f}"


def _gain(figure: Figure) -> str:
    if math.isnan(figure.low):
        return _signed(figure.value)
    mark = "~" if figure.is_doubtful else " "
    return f"{_signed(figure.value)} [{_signed(figure.low)}, {_signed(figure.high)}]{mark}"


def _signed(value: float) -> str:
    """A number with its sign, which nothing has none of."""
    return f"{round(value, 3) + 0.0:+.3f}"
