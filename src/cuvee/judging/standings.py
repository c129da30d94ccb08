"""The result of a comparison, as data: who did how well at what, against whom, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cuvee.judging.bootstrap import Difference, Draws
from cuvee.types import Score


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs to run.

    Attributes:
        parameters: how many it has.
        seconds_per_row: time for one row, the mean over rows and tasks.
    """

    parameters: int | None = None
    seconds_per_row: float | None = None


@dataclass(frozen=True, slots=True)
class Against:
    """A difference, and to whom.

    Attributes:
        model: the best of the parents, or of the other models where no parents are named, on these rows.
        among: how many it was the best of: the upper end of the interval is corrected for that choice.
        difference: the gain over it.
    """

    model: str
    among: int
    difference: Difference


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one task.

    Attributes:
        score: the metric with its error bar.
        normalised: as a share of the expert's: score / expert's where higher is better, else expert's / score; `None`
            in a raw comparison.
        against: gain in the metric's own unit over the model that the row of the table is compared with.
    """

    score: Score
    normalised: float | None
    against: Difference | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One model over all tasks.

    Attributes:
        model: its name.
        parent: whether it is one of the parents.
        cells: task → its figures there.
        mean: mean over tasks of the normalised scores, or of the gains in a raw comparison.
        minimum: the least of them.
        hardest: the task of the least.
        against: the gain in the mean over the best parent; `None` for a model alone.
        cost: what it costs.
    """

    model: str
    parent: bool
    cells: Mapping[str, Cell]
    mean: float
    minimum: float
    hardest: str
    against: Against | None
    cost: Cost


@dataclass(frozen=True, slots=True)
class GroupFigure:
    """A metric on the rows of one group.

    Attributes:
        name: the group.
        n: its rows.
        value: the metric there; `None` where it has no value.
        low: lower end of the interval.
        high: upper end.
        small: fewer rows than a figure should rest on.
        why: why there is no value.
    """

    name: str
    n: int
    value: float | None
    low: float
    high: float
    small: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class GroupTable:
    """A metric of one model on one task by a column of the data.

    Attributes:
        gap: largest minus smallest value over groups that are not small; `None` for fewer than two of them.
        gap_low: lower end of its interval.
        gap_high: upper end. Noise alone makes a gap: it is above zero even where all groups are alike.
    """

    model: str
    task: str
    metric: str
    column: str
    figures: tuple[GroupFigure, ...]
    gap: float | None
    gap_low: float
    gap_high: float


@dataclass(frozen=True, slots=True)
class FormCheck:
    """How many answers of a model have the form asked for.

    Attributes:
        share: the share that parses.
        against: gain over the parent that parses best; `None` for parents and for a model alone.
        collapsed: the share is below the parents' by more than noise, and by five points at least.
    """

    model: str
    task: str
    share: float
    against: Against | None
    collapsed: bool


@dataclass(frozen=True, slots=True)
class Standings:
    """Every model on every task.

    Attributes:
        tasks: task → its metric.
        experts: task → the model whose score is the unit there.
        standings: the models, in the order given.
        groups: metrics by groups.
        forms: shares of answers that parse.
        raw: whether means are over gains in the metric's own unit instead of normalised scores.
        how: draws, seed, level, kind of interval.
        notes: what is to be known besides.
    """

    tasks: Mapping[str, str]
    experts: Mapping[str, str]
    standings: tuple[Standing, ...]
    groups: tuple[GroupTable, ...]
    forms: tuple[FormCheck, ...]
    raw: bool
    how: Draws
    notes: tuple[str, ...]

    def __getitem__(self, model: str) -> Standing:
        """The standing of a model."""
        return next(standing for standing in self.standings if standing.model == model)

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON: mappings, lists, texts, numbers; NaN where there is no figure."""
        return {
            "tasks": dict(self.tasks),
            "experts": dict(self.experts),
            "raw": self.raw,
            "draws": _fields(self.how),
            "models": [_standing(standing) for standing in self.standings],
            "groups": [{**_fields(t), "figures": [_fields(f) for f in t.figures]} for t in self.groups],
            "forms": [{**_fields(check), "against": _against(check.against)} for check in self.forms],
            "notes": list(self.notes),
        }


def sentence(standing: Standing, raw: bool) -> str:
    """The verdict on a model in words.

    Returns:
        For example `merged: better than math, the best parent of 3: +0.042 [+0.010, +0.075]`.
    """
    if standing.against is None:
        return f"{standing.model}: there is no other model to compare it with"
    found, against = standing.against.difference, standing.against
    of = "" if against.among == 1 else f", the best of {against.among}"
    word = {"better": "better than", "worse": "worse than", "within noise": "within noise of"}[found.verdict]
    unit = "" if raw else " of the experts' scores"
    bounds = "no interval" if found.low != found.low else f"[{found.low:+.3f}, {found.high:+.3f}]"
    return f"{standing.model}: {word} {against.model}{of}: {found.value:+.3f} {bounds}{unit}"


def _fields(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__slots__}


def _difference(found: Difference | None) -> dict[str, Any] | None:
    return None if found is None else {**_fields(found), "verdict": found.verdict}


def _against(found: Against | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"model": found.model, "among": found.among, "difference": _difference(found.difference)}


def _standing(standing: Standing) -> dict[str, Any]:
    cells = {
        task: {
            "metric": cell.score.metric,
            "value": cell.score.value,
            "stderr": cell.score.stderr,
            "n": cell.score.n,
            "direction": cell.score.direction,
            "normalised": cell.normalised,
            "against": _difference(cell.against),
        }
        for task, cell in standing.cells.items()
    }
    return {
        "model": standing.model,
        "parent": standing.parent,
        "tasks": cells,
        "mean": standing.mean,
        "minimum": standing.minimum,
        "hardest": standing.hardest,
        "against": _against(standing.against),
        "cost": _fields(standing.cost),
    }
