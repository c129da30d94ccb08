"""A ladder as data: the same models as single, merge, soup, masks, ensemble and cascade, judged on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cuvee.judging.bootstrap import Difference, Draws
from cuvee.types import Direction, Score

RUNGS: Final = ("best single", "merge", "soup", "merge + masks", "ensemble", "cascade")
"""The rungs in their order."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a rung costs.

    Attributes:
        parameters: numbers that have to be held to answer any row; masks of one bit are told in `mask_bits`.
        active: numbers that a row is run through, the mean over rows and tasks.
        seconds_per_row: the mean over tasks, on warm calls; `None` where it was not measured.
        mask_bits: bits of masks that are held besides.
    """

    parameters: int | None = None
    active: float | None = None
    seconds_per_row: float | None = None
    mask_bits: int = 0


@dataclass(frozen=True, slots=True)
class Rung:
    """One form of the models.

    Attributes:
        name: of `RUNGS`.
        what: what it is made of, in words.
        scores: task → its metric on the rows that all rungs are judged on; none where it could not be made.
        mean: mean over tasks in the unit of the ladder; `None` where it could not be made.
        stderr: its standard error; NaN where there is none.
        against: the gain over the best single model, paired; `None` of that itself.
        price: what it costs.
        why_not: why it could not be made; empty where it was.
    """

    name: str
    what: str
    scores: Mapping[str, Score]
    mean: float | None
    stderr: float
    against: Difference | None
    price: Price
    why_not: str = ""

    @property
    def is_made(self) -> bool:
        """Whether there is such a rung."""
        return self.mean is not None


@dataclass(frozen=True, slots=True)
class Ladder:
    """All rungs.

    Attributes:
        models: the models that are merged, by the names that they have here.
        tasks: task → its metric.
        unit: what `mean` is in: the metric of all tasks, or a share of the best single model's scores.
        direction: which way `mean` is better.
        rungs: in the order of `RUNGS`.
        judged: task → rows that the rungs are judged on.
        chosen: task → rows that the best single model, the soup, masks and the threshold were chosen on.
        how: draws of the intervals.
        notes: what is to be known besides.
    """

    models: tuple[str, ...]
    tasks: Mapping[str, str]
    unit: str
    direction: Direction
    rungs: tuple[Rung, ...]
    judged: Mapping[str, int]
    chosen: Mapping[str, int]
    how: Draws
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Rung:
        """A rung by its name."""
        return next(one for one in self.rungs if one.name == name)

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "models": list(self.models),
            "tasks": dict(self.tasks),
            "unit": self.unit,
            "direction": self.direction,
            "rows": {"judged": dict(self.judged), "chosen": dict(self.chosen)},
            "rungs": [_rung(one) for one in self.rungs],
            "draws": _fields(self.how),
            "notes": list(self.notes),
        }


def _rung(rung: Rung) -> dict[str, Any]:
    found = rung.against
    scores = {task: {"value": s.value, "stderr": s.stderr, "n": s.n} for task, s in rung.scores.items()}
    return {
        "name": rung.name,
        "what": rung.what,
        "made": rung.is_made,
        "why_not": rung.why_not or None,
        "mean": rung.mean,
        "stderr": rung.stderr,
        "tasks": scores,
        "against_best_single": None if found is None else {**_fields(found), "verdict": found.verdict},
        **_fields(rung.price),
    }


def _fields(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__slots__}


def words(ladder: Ladder) -> tuple[str, ...]:
    """What averaging cost and what ensembling buys, in sentences."""
    told = [_averaging(ladder), _ensembling(ladder), _cascading(ladder)]
    return tuple(one for one in told if one)


def _averaging(ladder: Ladder) -> str:
    """The better one of merge and soup beside the ensemble of the same models."""
    merged = [one for one in (ladder["merge"], ladder["soup"]) if one.is_made]
    ensemble = ladder["ensemble"]
    if not merged or not ensemble.is_made:
        return ""
    best = max(merged, key=lambda one: _gain(ladder, one))
    lost = _gain(ladder, ensemble) - _gain(ladder, best)
    share = _ratio(best.price.parameters, ensemble.price.parameters)
    beside = f", with {share} of the parameters" if share else ""
    if lost > 0:
        return f"averaging cost {lost:.3f}: the {best.name} against the ensemble{beside}"
    return f"averaging cost nothing: the {best.name} is {-lost:.3f} ahead of the ensemble{beside}"


def _ensembling(ladder: Ladder) -> str:
    one, single = ladder["ensemble"], ladder["best single"]
    if not one.is_made or one.against is None:
        return ""
    bought = one.against
    verdict = {"better": "more than noise", "worse": "more than noise", "within noise": "within noise"}[bought.verdict]
    times = _times(one.price.seconds_per_row, single.price.seconds_per_row)
    beside = f", for {times} the time of a row" if times else ""
    verb = "buys" if bought.value >= 0 else "loses"
    return f"ensembling {verb} {abs(bought.value):.3f} over the best single model ({verdict}){beside}"


def _cascading(ladder: Ladder) -> str:
    one, whole = ladder["cascade"], ladder["ensemble"]
    if not one.is_made or not whole.is_made:
        return ""
    lost = _gain(ladder, whole) - _gain(ladder, one)
    times = _times(one.price.seconds_per_row, whole.price.seconds_per_row)
    beside = f" in {times} its time" if times else ""
    kept = f"loses {lost:.3f} of" if lost > 0 else "keeps all of" if lost == 0 else f"is {-lost:.3f} ahead of"
    return f"the cascade {kept} the ensemble{beside}"


def _gain(ladder: Ladder, rung: Rung) -> float:
    assert rung.mean is not None, "a rung that was made"
    return rung.mean if ladder.direction == "higher" else -rung.mean


def _ratio(part: int | None, whole: int | None) -> str:
    return f"{part / whole:.0%}" if part and whole else ""


def _times(part: float | None, whole: float | None) -> str:
    return f"{part / whole:.2g} times" if part and whole else ""
