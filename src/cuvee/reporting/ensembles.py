"""The page of ensembles: who is best and at what cost, from plain data that `leaderboard` and `pareto` gave.

name          what was combined for
about         a sentence on it
metric        what the table is ordered by
better        `higher` or `lower`
leaderboard   rows as `Leaderboard.as_rows` gives them
front         points as `Front.as_rows` gives them; may be left out
unit          what their cost is counted in
notes         what a reader should know
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cuvee.reporting import charts
from cuvee.reporting.document import document
from cuvee.reporting.figures import Figure
from cuvee.reporting.markup import Html, joined, table, tag
from cuvee.reporting.parts import Section, chart, notes
from cuvee.reporting.words import figure, interval

Told = Mapping[str, Any]

KINDS: Final = ("combiner", "member", "ensemble")
"""What a row may be, in the order of colours."""
_HINT: Final = {
    "direct": "on rows it was not trained on",
    "nested": "fitted again without each fold of the rows",
    "in-sample": "on rows it was trained on: flattered",
    "fit": "on the rows it was fitted on: flattered",
}


def ensembles_page(title: str, description: str, told: Sequence[Told]) -> str:
    """One HTML file on ensembles, a section each; the same data gives the same bytes.

    Args:
        title: heading of the page.
        description: the same in a sentence.
        told: the ensembles.

    Raises:
        UsageError: `missing-extra`: Altair or vl-convert is not installed.
    """
    return document(title, description, [_section(number, one) for number, one in enumerate(told, start=1)])


def _section(number: int, told: Told) -> Section:
    figures = [_scores(number, told)]
    if told.get("front"):
        figures.append(_front(number, told))
    body = joined(
        [
            tag("p", told["about"]),
            _key({row["kind"] for row in told["leaderboard"]}),
            [chart(one) for one in figures],
            _leaderboard(told),
            notes(told.get("notes", ())),
        ]
    )
    return Section(f"ensemble-{number}", told["name"], body, tuple(figures))


def _key(present: set[str]) -> Html:
    items = [
        tag("li", tag("span", mark, class_=f"mark role-{number}", aria_hidden="true"), kind)
        for number, (mark, kind) in enumerate(zip(charts.MARKS, KINDS))
        if kind in present
    ]
    return tag("ul", items, class_="key", aria_label="What the marks mean")


def _scores(number: int, told: Told) -> Figure:
    metric = told["metric"]
    rows = [
        {
            "model": row["name"],
            "role": row["kind"],
            "value": row[metric],
            "low": row.get(f"{metric}_low", row[metric]),
            "high": row.get(f"{metric}_high", row[metric]),
            "label": figure(row[metric]),
        }
        for row in told["leaderboard"]
        if row.get(metric) is not None and row["honest"]
    ]
    better = f"{told['better']} is better"
    said = f"{len(rows)} members and combiners with 95 % intervals, on rows that none of them was fitted on; {better}."
    if rows:
        said += f" The best is {rows[0]['model']} with {rows[0]['label']}."
    spec = charts.scores(rows, [row["model"] for row in rows], f"{metric} ({better})", None, KINDS)
    shown = tuple((row["model"], row["role"], row["label"]) for row in rows)
    return Figure(f"board-{number}", "Who is best", said, spec, ("name", "what it is", metric), shown)


def _front(number: int, told: Told) -> Figure:
    unit, metric = told["unit"], told["metric"]
    rows = [
        {
            "name": point["name"],
            "x": point["cost"],
            "y": point[metric],
            "kind": "Pareto front" if point["on_front"] else "beaten",
            "label": point["kind"],
        }
        for point in told["front"]
    ]
    chosen = [row for row in rows if row["kind"] == "Pareto front"]
    said = f"{len(chosen)} of {len(rows)} choices are on the Pareto front: none is as cheap and as good."
    spec = charts.front(rows, unit, metric, name="name:N", scale="log")
    shown = tuple((row["name"], row["label"], figure(row["x"]), figure(row["y"])) for row in chosen)
    columns = ("on the front", "what it is", unit, metric)
    return Figure(f"cost-{number}", "What which score costs", said, spec, columns, shown)


def _leaderboard(told: Told) -> Html:
    rows = told["leaderboard"]
    metrics = [key for key in rows[0] if f"{key}_low" in rows[0] and key != "gain"]
    columns = ("name", "what it is", *metrics, "µs per row", "against the best member", "how judged")
    cells = [
        [
            row["name"],
            row["kind"],
            *(figure(row.get(metric)) for metric in metrics),
            figure(row["us_per_row"]),
            "–" if row.get("gain") is None else f"{row['verdict']}: {interval(_gain(row))}",
            _HINT.get(row["estimate"], row["estimate"]),
        ]
        for row in rows
    ]
    return table(columns, cells, "All figures; a gain is larger where it is better, with its 95 % interval")


def _gain(row: Told) -> dict[str, float]:
    return {"value": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}
