"""The charts of a comparison, of explanations and of searches, each with its words and its table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from cuvee.reporting import charts
from cuvee.reporting.cast import roles, short_names
from cuvee.reporting.evidence import Data, Evidence
from cuvee.reporting.words import counted, figure, interval, signed

_SPREAD: Final = 1.959963984540054
"""Standard errors on each side that an interval of 95 % has."""
_SHARE: Final = re.compile(r"accuracy|balanced_accuracy|auc|ece|f1_\w+|correct|parsed|mrr|recall@\d+")
"""Metrics between 0 and 1: neither intervals nor axes leave these ends."""
_FRONTS: Final = 3
"""Pairs of objectives that are drawn."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart.

    Attributes:
        name: unique in a page, of letters, digits and hyphens.
        title: a few words.
        description: what is seen, for those who do not see it.
        spec: Vega-Lite.
        columns, rows: the same as a table.
    """

    name: str
    title: str
    description: str
    spec: charts.Spec
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def charts_of(evidence: Evidence) -> list[tuple[str, str, str, charts.Spec]]:
    """Name, title, description and specification of every chart that the evidence gives, for `drawing`.

    Raises:
        UsageError: `missing-extra`: Altair is not installed.
    """
    found = [*scores(evidence), *explanations(evidence), *searches(evidence)]
    return [(one.name, one.title, one.description, one.spec) for one in found]


def scores(evidence: Evidence) -> Iterator[Figure]:
    """A chart of the mean over tasks, where there are several, and one of every task."""
    told = evidence.comparison
    if told is None or not told["models"]:
        return
    models, role = told["models"], roles(evidence)
    short = short_names([one["model"] for one in models])
    order = sorted((one["model"] for one in models), key=lambda name: charts.ROLES.index(role[name]))
    if len(told["tasks"]) > 1:
        yield _mean(models, role, short, order, told["raw"])
    ends = {metric: _domain(models, told["tasks"], metric) for metric in dict.fromkeys(told["tasks"].values())}
    for number, (task, metric) in enumerate(told["tasks"].items(), start=1):
        if not any(task in one["tasks"] for one in models):
            continue
        yield _task(number, task, models, role, short, order, ends[metric])


def _task(
    number: int,
    task: str,
    models: Sequence[Data],
    role: Mapping[str, str],
    short: Mapping[str, str],
    order: Sequence[str],
    domain: tuple[float, float] | None,
) -> Figure:
    cells = {one["model"]: one["tasks"][task] for one in models if task in one["tasks"]}
    rows = [_dot(short[name], role[name], cells[name]) for name in order if name in cells]
    first = next(iter(cells.values()))
    better = "higher is better" if first["direction"] == "higher" else "lower is better"
    best = sorted(cells, key=lambda name: cells[name]["value"], reverse=first["direction"] == "higher")[0]
    said = f"{len(rows)} models on {first['n']:,} rows, with 95 % intervals; {better}. "
    said += f"The best is {short[best]} with {figure(cells[best]['value'])}."
    spec = charts.scores(rows, [short[name] for name in order], f"{first['metric']} ({better})", domain)
    table = tuple((row["model"], row["role"], row["label"]) for row in rows)
    return Figure(f"task-{number}", task, said, spec, ("model", "what it is", first["metric"]), table)


def _mean(
    models: Sequence[Data], role: Mapping[str, str], short: Mapping[str, str], order: Sequence[str], raw: bool
) -> Figure:
    """The mean; its own intervals are of differences, so dots stand alone."""
    what = "mean gain (larger is better)" if raw else "mean share of the experts’ scores"
    found = {one["model"]: one for one in models}
    rows = []
    for name in order:
        value = found[name]["mean"]
        label = f"{figure(value)}; least {figure(found[name]['minimum'])} on {found[name]['hardest']}"
        rows.append(
            {"model": short[name], "role": role[name], "value": value, "low": value, "high": value, "label": label}
        )
    best = max(found, key=lambda name: found[name]["mean"])
    said = f"{what[0].upper()}{what[1:]} of {len(rows)} models. "
    said += f"The largest is {figure(found[best]['mean'])}, {short[best]}."
    spec = charts.scores(rows, [short[name] for name in order], what, None)
    table = tuple((row["model"], row["role"], row["label"]) for row in rows)
    return Figure("mean", "All tasks together", said, spec, ("model", "what it is", what), table)


def _dot(name: str, role: str, cell: Data) -> dict[str, Any]:
    value, error = cell["value"], cell.get("stderr")
    low, high = _ends(cell)
    return {
        "model": name,
        "role": role,
        "value": value,
        "low": low,
        "high": high,
        "label": figure(value) if error is None else f"{figure(value)} ± {figure(error)}",
    }


def _domain(models: Sequence[Data], tasks: Mapping[str, str], metric: str) -> tuple[float, float] | None:
    """Ends that all tasks of a metric share, so that their charts can be compared."""
    cells = [
        one["tasks"][task] for one in models for task, own in tasks.items() if own == metric and task in one["tasks"]
    ]
    ends = [end for cell in cells for end in _ends(cell)]
    return (min(ends), max(ends)) if ends and max(ends) > min(ends) else None


def _ends(cell: Data) -> tuple[float, float]:
    """Of the interval; that of a share ends where shares do."""
    value, wide = cell["value"], _SPREAD * (cell.get("stderr") or 0.0)
    is_share = _SHARE.fullmatch(cell["metric"]) and 0 <= value <= 1
    low, high = (0.0, 1.0) if is_share else (-math.inf, math.inf)
    return max(low, value - wide), min(high, value + wide)


def explanations(evidence: Evidence) -> Iterator[Figure]:
    """A chart of every explanation: what each part is worth."""
    for number, told in enumerate(evidence.explanations, start=1):
        short = short_names([part["name"] for part in told["parts"]])
        parts = sorted(told["parts"], key=lambda part: -part["shapley"]["value"])
        rows = [row for part in parts for row in _bars(short[part["name"]], part)]
        title = f"{told['task']}: {told['of']} of the {told['subject']}"
        said = f"What each of {len(parts)} {told['of']} adds to {told['metric']}, with 95 % intervals; more is better. "
        said += f"{short[parts[0]['name']]} adds most: {interval(parts[0]['shapley'])}. " if parts else ""
        said += _how(told)
        spec = charts.contributions(rows, [short[part["name"]] for part in parts], f"gain in {told['metric']}")
        table = tuple(
            (
                short[part["name"]],
                interval(part["shapley"]),
                interval(part["leave_one_out"]),
                "–" if part.get("alone") is None else figure(part["alone"]["value"]),
            )
            for part in parts
        )
        columns = (told["of"].removesuffix("s"), "Shapley value", "lost if left out", "alone")
        yield Figure(f"explain-{number}", title, said, spec, columns, table)


def _how(told: Data) -> str:
    """How the values were found, and between what."""
    orders = counted(told.get("permutations") or 0, "order")
    way = f"Exactly, from {counted(told['coalitions'], 'set')}" if told["exact"] else f"From {orders} drawn at random"
    whole, nothing = figure(told["whole"]["value"]), figure(told["nothing"]["value"])
    return f"{way}, on {told['n']:,} rows: {whole} with all, {nothing} with {told['nothing']['what']}."


def _bars(name: str, part: Data) -> Iterator[dict[str, Any]]:
    for kind, key in zip(charts.KINDS, ("shapley", "leave_one_out"), strict=True):
        told = part[key]
        ends = {end: told["value"] if told.get(end) is None else told[end] for end in ("low", "high")}
        yield {"part": name, "kind": kind, "value": told["value"], **ends, "label": interval(told)}


def searches(evidence: Evidence) -> Iterator[Figure]:
    """Charts of every search: what was tried, and the front where there are several objectives."""
    for number, told in enumerate(evidence.searches, start=1):
        if any(trial.get("gains") for trial in told["tried"]):
            yield _history(f"search-{number}", told)
        yield from _fronts(f"front-{number}", told)


def _history(name: str, told: Data) -> Figure:
    rows: list[dict[str, Any]] = []
    best: float | None = None
    for trial in told["tried"]:
        gain = mean_gain(trial)
        whole = gain is not None and trial["state"] in ("scored", "repeated")
        if gain is not None and whole:
            best = gain if best is None else max(best, gain)
        label = f"{trial['state']}" if gain is None else f"{figure(gain)} ({trial['state']})"
        rows.append({"trial": trial["number"], "gain": gain, "best": best, "label": label})
    held = told["best"]["held_out"]
    wide = _SPREAD * (held.get("stderr") or 0.0)
    said = f"{len(rows)} trials; the best, trial {told['best']['trial']}, was worth "
    said += (
        f"{figure(told['best']['search']['value'])} where it was searched and {figure(held['value'])} on rows held out."
    )
    spec = charts.trials(rows, (held["value"], held["value"] - wide, held["value"] + wide))
    table = tuple(
        (str(row["trial"]), row["label"], "–" if row["best"] is None else figure(row["best"])) for row in rows
    )
    return Figure(name, "What was tried", said, spec, ("trial", "gain", "best so far"), table)


def _fronts(name: str, told: Data) -> Iterator[Figure]:
    objectives = [one["task"] for one in told["objectives"]]
    chosen = {one["trial"] for one in told["pareto"]}
    whole = [t for t in told["tried"] if len(t.get("gains") or ()) == len(objectives) and t["state"] == "scored"]
    for a, b in list(combinations(range(len(objectives)), 2))[:_FRONTS]:
        rows = [
            {
                "trial": trial["number"],
                "x": trial["gains"][a],
                "y": trial["gains"][b],
                "kind": "Pareto front" if trial["number"] in chosen else "beaten",
                "label": ", ".join(figure(gain) for gain in trial["gains"]),
            }
            for trial in whole
        ]
        title = f"{objectives[a]} against {objectives[b]}"
        said = f"{len(chosen)} of {len(rows)} trials are on the Pareto front: no other is better in every objective."
        spec = charts.front(rows, f"gain on {objectives[a]}", f"gain on {objectives[b]}")
        on_front = [row for row in rows if row["kind"] == "Pareto front"]
        table = tuple((str(row["trial"]), signed(row["x"], ""), signed(row["y"], "")) for row in on_front)
        yield Figure(f"{name}-{a}-{b}", title, said, spec, ("trial on the front", objectives[a], objectives[b]), table)


def mean_gain(trial: Data) -> float | None:
    """The mean over tasks of what a trial was worth."""
    gains = trial.get("gains")
    return None if not gains else sum(gains) / len(gains)
