"""What every part contributed on a task, with error bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cuvee.explaining.coalitions import Course
from cuvee.explaining.outcomes import FEW, Figure, Outcome, combined, sampling_errors
from cuvee.explaining.shapley import DATA, SAMPLED, SHAPLEY, leave_one_out_weights, pair_weights, shapley_weights
from cuvee.types import Cite, Direction

Subject = Literal["merge", "ensemble"]
Of = Literal["models", "layers"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one part contributed: gains, larger is better; `alone` is a score in the metric's own unit."""

    name: str
    shapley: Figure
    leave_one_out: Figure
    alone: Figure | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The parts of a merge or an ensemble on one task.

    Attributes:
        subject: what is explained.
        task: the task.
        metric: its metric.
        direction: whether higher or lower values are better.
        n: rows.
        of: what the parts are.
        whole: the score of all parts together.
        nothing_is: what no part at all means.
        nothing: its score.
        exact: whether every set of parts was scored.
        coalitions: sets that were scored.
        permutations: orders that were drawn, `None` where none were.
        parts: what each contributed.
        notes: what should be known.
    """

    subject: Subject
    task: str
    metric: str
    direction: Direction
    n: int
    of: Of
    whole: Figure
    nothing_is: str
    nothing: Figure
    exact: bool
    coalitions: int
    permutations: int | None
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def as_data(self) -> dict[str, Any]:
        """Plain data, as `cuvee explain --json` prints them."""
        return {
            "subject": self.subject,
            "task": self.task,
            "metric": self.metric,
            "direction": self.direction,
            "n": self.n,
            "of": self.of,
            "whole": _score(self.whole),
            "nothing": {"what": self.nothing_is, **_score(self.nothing)},
            "exact": self.exact,
            "coalitions": self.coalitions,
            "permutations": self.permutations,
            "parts": [_part(part) for part in self.parts],
        }


@dataclass(frozen=True, slots=True)
class Explanations:
    """All that was explained of a merge.

    Attributes:
        path: its folder.
        explanations: by subject, by what the parts are and by task.
        notes: what should be known.
    """

    path: Path
    explanations: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()

    @property
    def citations(self) -> tuple[Cite, ...]:
        """The sources of what was worked out."""
        sampled = any(not one.exact for one in self.explanations)
        return (SHAPLEY, *([SAMPLED] if sampled else []), DATA)

    def of(self, task: str, subject: Subject = "merge", of: Of = "models") -> Explanation:
        """One of them.

        Raises:
            KeyError: there is none.
        """
        found = [one for one in self.explanations if (one.task, one.subject, one.of) == (task, subject, of)]
        if not found:
            raise KeyError(f"there is no explanation of the {subject} by {of} on {task}")
        return found[0]

    def as_data(self) -> dict[str, Any]:
        """Plain data, as `cuvee explain --json` prints them."""
        return {
            "path": str(self.path),
            "explanations": [one.as_data() for one in self.explanations],
            "notes": list(self.notes),
            "citations": [{"text": cite.text, "arxiv": cite.arxiv} for cite in self.citations],
        }


@dataclass(frozen=True, slots=True)
class About:
    """What is explained; attributes as those of an `Explanation`."""

    subject: Subject
    task: str
    metric: str
    direction: Direction
    n: int
    of: Of
    nothing_is: str


def explained(about: About, names: Sequence[str], path: Course, outcomes: Mapping[int, Outcome]) -> Explanation:
    """What every part contributed.

    Args:
        about: what is explained.
        names: of the parts.
        path: which sets were scored.
        outcomes: what each of them came to.
    """
    listed = [outcomes[coalition] for coalition in path.coalitions]
    weights, left_out = shapley_weights(path), leave_one_out_weights(path)
    pairs, values = pair_weights(path), combined(weights, listed)
    sampled = sampling_errors(pairs, listed)
    parts = tuple(
        Part(
            name,
            values[i] if path.is_exact else values[i].with_drawing(float(sampled[i]), len(pairs)),
            combined(left_out[i : i + 1], listed)[0],
            _of_one(about.direction, outcomes[1 << i]),
        )
        for i, name in enumerate(names)
    )
    return Explanation(
        subject=about.subject,
        task=about.task,
        metric=about.metric,
        direction=about.direction,
        n=about.n,
        of=about.of,
        whole=_of_one(about.direction, outcomes[path.whole]),
        nothing_is=about.nothing_is,
        nothing=_of_one(about.direction, outcomes[0]),
        exact=path.is_exact,
        coalitions=len(path.coalitions),
        permutations=None if path.orders is None else len(path.orders),
        parts=parts,
        notes=tuple(_no_error(about, parts)),
    )


def _of_one(direction: Direction, outcome: Outcome) -> Figure:
    """A score in the metric's own unit."""
    figure = combined(np.ones((1, 1)), [outcome])[0]
    return figure if direction == "higher" else replace(figure, value=-figure.value)


def doubts(explanations: Sequence[Explanation]) -> list[str]:
    """How many intervals rest on too few rows."""
    figures = [one for e in explanations for part in e.parts for one in (part.shapley, part.leave_one_out)]
    count = sum(one.is_doubtful for one in figures)
    if not count:
        return []
    what = f"{count} of {len(figures)} contributions differ from nothing on fewer than {FEW} rows"
    return [f"{what}: their intervals are too narrow to be trusted"]


def _no_error(about: About, parts: Sequence[Part]) -> list[str]:
    if all(math.isfinite(part.shapley.stderr) for part in parts):
        return []
    return [f"{about.subject} on {about.task}: {about.metric} has no error bar here, so none is told"]


def _score(figure: Figure) -> dict[str, float]:
    return {"value": figure.value, "stderr": figure.stderr}


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "shapley": _gain(part.shapley),
        "leave_one_out": _gain(part.leave_one_out),
        "alone": None if part.alone is None else _score(part.alone),
    }


def _gain(figure: Figure) -> dict[str, float]:
    return {**_score(figure), "low": figure.low, "high": figure.high}
