"""A ladder as a chart and as a section of a page, from what `cuvee ladder --json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cuvee.reporting import charts
from cuvee.reporting.document import document
from cuvee.reporting.figures import Figure
from cuvee.reporting.markup import Html, joined, table, tag
from cuvee.reporting.parts import Section, chart, notes
from cuvee.reporting.words import figure, in_millions, interval

Data = Mapping[str, Any]

_COLUMNS = ("rung", "what it is", "score", "over the best single", "parameters", "ms a row")


def ladder_figure(told: Data) -> Figure | None:
    """Scores against the time of a row, or against parameters where no time was measured; `None` where neither is.

    Raises:
        UsageError: `missing-extra`: Altair is not installed.
    """
    made = [one for one in told["rungs"] if one["made"]]
    timed = all(one["seconds_per_row"] is not None for one in made)
    key, factor, title = ("seconds_per_row", 1000.0, "ms a row") if timed else ("parameters", 1.0, "parameters")
    if not made or any(not one[key] for one in made):
        return None
    rows = [_point(one, float(one[key]) * factor, title) for one in made]
    better = "higher is better" if told["direction"] == "higher" else "lower is better"
    first = made[0]["name"]
    best = (max if told["direction"] == "higher" else min)(made, key=lambda one: one["mean"])
    said = f"{told['unit']} ({better}) with intervals of 95 %, against {title}. The {best['name']} scores best, "
    said += f"{figure(best['mean'])}; the {first} scores {figure(made[0]['mean'])}."
    spec = charts.ladder(rows, [one["name"] for one in made], title, f"{told['unit']} ({better})")
    return Figure("ladder", "Score against cost", said, spec, _COLUMNS, tuple(_row(one) for one in told["rungs"]))


def _point(rung: Data, x: float, title: str) -> dict[str, Any]:
    spread = 1.96 * (rung["stderr"] if rung["stderr"] is not None else 0.0)
    spread = spread if spread == spread else 0.0
    label = f"{figure(rung['mean'])}, {figure(x)} {title}"
    ends = {"low": rung["mean"] - spread, "high": rung["mean"] + spread}
    return {"rung": rung["name"], "x": x, "y": rung["mean"], **ends, "label": label}


def _row(rung: Data) -> tuple[str, ...]:
    if not rung["made"]:
        return rung["name"], f"not made: {rung['why_not']}", "–", "–", "–", "–"
    error = rung["stderr"]
    score = figure(rung["mean"]) + (f" ± {figure(error)}" if error is not None and error == error else "")
    against = "–" if rung["against_best_single"] is None else interval(rung["against_best_single"])
    time = "–" if rung["seconds_per_row"] is None else figure(rung["seconds_per_row"] * 1000)
    held = "–" if rung["parameters"] is None else in_millions(rung["parameters"])
    return rung["name"], rung["what"], score, against, held, time


def ladder_section(told: Data, sentences: Sequence[str]) -> Section:
    """The section: chart, table, sentences and notes.

    Args:
        told: the ladder.
        sentences: what averaging cost and what ensembling buys.

    Raises:
        UsageError: `missing-extra`.
    """
    drawn = ladder_figure(told)
    rows = table(_COLUMNS, [_row(one) for one in told["rungs"]], "The same models in every form")
    body = joined(
        [
            [tag("p", one) for one in sentences],
            None if drawn is None else chart(drawn),
            rows,
            _by_task(told) if len(told["tasks"]) > 1 else None,
            notes(told["notes"]),
        ]
    )
    return Section("ladder", "The ladder", body, () if drawn is None else (drawn,))


def _by_task(told: Data) -> Html:
    made = [one for one in told["rungs"] if one["made"]]
    columns = ("task", "metric", *(one["name"] for one in made))
    rows = ([task, metric, *_cells(made, task)] for task, metric in told["tasks"].items())
    return table(columns, rows, "Task by task")


def _cells(rungs: Sequence[Data], task: str) -> Iterator[str]:
    for rung in rungs:
        found = rung["tasks"][task]
        error = found["stderr"]
        yield figure(found["value"]) + (f" ± {figure(error)}" if error is not None and error == error else "")


def ladder_page(name: str, told: Data, sentences: Sequence[str]) -> str:
    """A page of the ladder alone.

    Raises:
        UsageError: `missing-extra`.
    """
    what = f"{len(told['models'])} models as single, merge, soup, masks, ensemble and cascade: scores against cost"
    return document(name, what, [ladder_section(told, sentences)])
