"""A comparison as people read it: a table of models, verdicts, groups, and answers that no longer parse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.console import one_line
from cuvee.cli.tables import Column, table
from cuvee.cli.words import in_millions

if TYPE_CHECKING:
    from cuvee.judging.standings import FormCheck, GroupTable, Standing, Standings

_STYLES = {"better": "green", "worse": "red", "within noise": ""}


def text(found: Standings) -> Iterator[RenderableType]:
    """All of it."""
    short = _short([standing.model for standing in found.standings])
    yield _scores(found, short)
    yield "* the task's expert, whose score is the unit"
    yield ""
    yield _overall(found, short)
    yield ""
    for standing in found.standings:
        yield _verdict(standing, found.raw)
    for check in found.forms:
        if check.collapsed:
            yield _collapse(check)
    for group in found.groups:
        yield ""
        yield _line(f"{short[group.model]} on {group.task}: {group.metric} by {group.column}", "bold")
        yield _group(group)
        yield _gap(group)


def _line(words: str, style: str = "") -> Text:
    """One line, whatever a name in it holds."""
    return Text(one_line(words), style=style)


def _short(models: Sequence[str]) -> dict[str, str]:
    """The last part of each path, where that tells them apart."""
    last = {model: PurePath(model).name or model for model in models}
    return last if len(set(last.values())) == len(models) else {model: model for model in models}


def _scores(found: Standings, short: dict[str, str]) -> RenderableType:
    """A line for each task and model."""
    columns = [Column("task"), Column("metric"), Column("model"), Column("score", True)]
    columns += [Column("of expert's", True), Column("to best parent" if _named(found) else "to best other", True)]
    rows: list[list[str]] = []
    gaps: set[int] = set()
    for task, metric in found.tasks.items():
        gaps.add(len(rows))
        for standing in found.standings:
            cell = standing.cells[task]
            expert = " *" if found.experts[task] == standing.model else ""
            share = "–" if cell.normalised is None else f"{cell.normalised:.3f}"
            score = _with_error(cell.score.value, cell.score.stderr)
            gain = "–" if cell.against is None else _interval(cell.against.value, cell.against.low, cell.against.high)
            rows.append([task, metric, short[standing.model] + expert, score, share, gain])
    return table(columns, rows, gaps - {0})


def _named(found: Standings) -> bool:
    return any(standing.parent for standing in found.standings)


def _overall(found: Standings, short: dict[str, str]) -> RenderableType:
    """A line for each model."""
    kind = "gain" if found.raw else "share"
    columns = [Column("model"), Column("role"), Column(f"mean {kind}", True), Column("minimum", True), Column("at")]
    columns += [Column("parameters", True), Column("s/row", True)]
    rows = [
        [
            short[standing.model],
            "parent" if standing.parent else "",
            f"{standing.mean:.3f}",
            f"{standing.minimum:.3f}",
            standing.hardest,
            "–" if standing.cost.parameters is None else in_millions(standing.cost.parameters),
            "–" if standing.cost.seconds_per_row is None else f"{standing.cost.seconds_per_row:.2g}",
        ]
        for standing in found.standings
    ]
    return table(columns, rows)


def _verdict(standing: Standing, raw: bool) -> Text:
    from cuvee.judging.standings import sentence

    style = "" if standing.against is None else _STYLES[standing.against.difference.verdict]
    return _line(sentence(standing, raw), style)


def _collapse(check: FormCheck) -> Text:
    assert check.against is not None
    before = check.share - check.against.difference.value
    shares = f"{100 * check.share:.1f} % of the answers have the form asked for, {100 * before:.1f} % of"
    return _line(f"{check.model}: on {check.task} the format has collapsed: {shares} {check.against.model}'s", "red")


def _group(group: GroupTable) -> RenderableType:
    columns = [
        Column(group.column),
        Column("n", True),
        Column(group.metric, True),
        Column("interval", True),
        Column(""),
    ]
    rows = [
        [
            figure.name,
            f"{figure.n:,}",
            "–" if figure.value is None else f"{figure.value:.3f}",
            "–" if math.isnan(figure.low) else f"[{figure.low:.3f}, {figure.high:.3f}]",
            figure.why or ("few rows" if figure.small else ""),
        ]
        for figure in group.figures
    ]
    return table(columns, rows)


def _gap(group: GroupTable) -> Text:
    if group.gap is None:
        return _line("no gap to tell: fewer than two groups have rows enough")
    bounds = "" if math.isnan(group.gap_low) else f" [{group.gap_low:.3f}, {group.gap_high:.3f}]"
    return _line(f"gap between groups: {group.gap:.3f}{bounds}")


def _with_error(value: float, stderr: float) -> str:
    return f"{value:.3f}" if math.isnan(stderr) else f"{value:.3f} ± {stderr:.3f}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:+.3f}" if math.isnan(low) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
