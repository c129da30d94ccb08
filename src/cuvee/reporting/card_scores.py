"""The parts of a model card that tell figures: scores, contributions, what a search flattered itself by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cuvee.reporting.card_parts import figure, gain
from cuvee.reporting.evidence import Data
from cuvee.reporting.markdown import code, plain, table


def verdict(row: Mapping[str, Any] | None, comparison: Data | None) -> str:
    """What the comparison says of the model, in one sentence of Markdown."""
    if comparison is None:
        return "It was not judged: no comparison with its inputs was given when this card was written."
    if row is None:
        return "It is not among the models of the comparison that was given when this card was written."
    against = row.get("against")
    if against is None:
        return "There was no other model to compare it with."
    found = against["difference"]
    word = {"better": "better than", "worse": "worse than"}.get(found["verdict"], "within noise of")
    of = f", the best of {against['among']}" if against["among"] > 1 else ""
    unit = "" if comparison.get("raw") else " of the experts' scores"
    tasks = comparison["tasks"]
    number = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"Over {number} it is **{word}** {code(against['model'])}{of}: {gain(found)}{unit}."


def scores(comparison: Data, row: Mapping[str, Any] | None) -> Iterator[str]:
    """Every model on every task."""
    yield "## Scores"
    yield verdict(row, comparison)
    for task, metric in comparison["tasks"].items():
        yield _task(task, metric, comparison, row)
    if len(comparison["tasks"]) > 1:
        yield _overall(comparison, row)
    yield (
        "± is one standard error over the rows of a task; gains are over the model that each is compared with, with a"
        " paired bootstrap interval; shares are of the score of the task's expert."
    )
    if notes := comparison.get("notes"):
        yield "\n".join(f"- {plain(note)}" for note in notes)


def _task(task: str, metric: str, comparison: Data, own: Mapping[str, Any] | None) -> str:
    cells = [(row, row["tasks"][task]) for row in comparison["models"] if task in row["tasks"]]
    if not cells:
        return f"**{plain(task)}**, {plain(metric)}: no model was asked."
    better = "higher" if cells[0][1]["direction"] == "higher" else "lower"
    head = f"**{plain(task)}**, {plain(metric)} ({better} is better), {cells[0][1]['n']} rows:"
    rows = (
        [
            _name(row, own),
            figure(cell["value"], cell.get("stderr")),
            figure(cell.get("normalised")),
            gain(cell.get("against")),
            plain((cell.get("against") or {}).get("verdict") or "–"),
        ]
        for row, cell in cells
    )
    return f"{head}\n\n{table(['model', 'score', 'share', 'gain', 'verdict'], rows, right=1)}"


def _overall(comparison: Data, own: Mapping[str, Any] | None) -> str:
    rows = (
        [_name(row, own), figure(row["mean"]), figure(row["minimum"]), _against(row.get("against"))]
        for row in comparison["models"]
    )
    what = "gains" if comparison.get("raw") else "shares of the experts' scores"
    return (
        f"**All tasks**, {what}:\n\n{table(['model', 'mean', 'minimum', 'gain over the best parent'], rows, right=1)}"
    )


def _against(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{gain(found['difference'])}, {plain(found['difference']['verdict'])}"


def _name(row: Mapping[str, Any], own: Mapping[str, Any] | None) -> str:
    name = code(row["model"], in_table=True)
    if own is not None and row["model"] == own["model"]:
        return f"**{name}** (this model)"
    return f"{name} (parent)" if row.get("parent") else name


def explained(explanations: Sequence[Data]) -> Iterator[str]:
    """What each part of the merge contributed."""
    if explanations:
        yield "## What contributed"
    for one in explanations:
        exact = "exactly" if one["exact"] else f"from {one.get('permutations') or 'some'} random orders"
        head = (
            f"**{plain(one['task'])}**, {plain(one['metric'])}, {one['n']} rows: {figure(**_score(one['whole']))} with"
            f" all {plain(one['of'])}, {figure(**_score(one['nothing']))} with {plain(one['nothing']['what'])}."
            f" Shapley values {exact}; intervals of 95 %; more is better."
        )
        rows = (
            [
                code(part["name"], in_table=True),
                gain(part["shapley"]),
                gain(part["leave_one_out"]),
                figure(**_score(part["alone"])) if part.get("alone") else "–",
            ]
            for part in one["parts"]
        )
        yield f"{head}\n\n{table(['part', 'Shapley value', 'lost without it', 'alone'], rows, right=1)}"


def _score(found: Mapping[str, Any]) -> dict[str, float | None]:
    return {"value": found["value"], "stderr": found.get("stderr")}


def searched(searches: Sequence[Data]) -> Iterator[str]:
    """What searches found, and by how much their own rows flatter it."""
    if searches:
        yield "## Search"
    for one in searches:
        best = one["best"]
        yield (
            f"The recipe was found by a search ({plain(one.get('strategy', 'unknown strategy'))}). On the rows that it"
            f" was searched on the mean gain was {figure(**_score(best['search']))}; on rows that nothing was chosen on"
            f" it was {figure(**_score(best['held_out']))}. The difference is its optimism:"
            f" {figure(**_score(one['optimism']))}."
        )
