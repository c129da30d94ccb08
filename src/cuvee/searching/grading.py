"""What a model is worth on drawn rows: scores of tasks, their mean, and differences with their error bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cuvee.searching.rows import Draw
from cuvee.types import Score


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its standard error, NaN where there is none to give."""

    value: float
    stderr: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.stderr:.4f}" if math.isfinite(self.stderr) else f"{self.value:.4f}"


def scores_on(model: Any, draws: Sequence[Draw], start: float = 0.0, stop: float = 1.0) -> tuple[Score, ...]:
    """The scores of a model on a part of the rows of every task.

    Raises:
        ValueError: a task gives what is no score, or no finite number.
    """
    found = []
    for draw in draws:
        score = draw.scorer.score(model, draw.part(start, stop))
        if not isinstance(score, Score):
            raise ValueError(f"the task {draw.scorer.name} should give a Score; it gave {type(score).__name__}")
        if not math.isfinite(score.value):
            raise ValueError(f"the task {draw.scorer.name} should give a finite number; it gave {score.value}")
        found.append(score)
    return tuple(found)


def joined(first: Score, second: Score) -> Score | None:
    """The score over the rows of two, where a score is the mean of what its rows add; else nothing."""
    if first.rows is None or second.rows is None:
        return None
    rows = (*first.rows, *second.rows)
    value = math.fsum(rows) / len(rows)
    return Score(first.metric, value, _stderr(rows), len(rows), first.direction, rows)


def _stderr(rows: Sequence[float]) -> float:
    """Standard error of a mean: `sqrt(Σ (x − x̄)² / (n (n − 1)))`."""
    count = len(rows)
    if count < 2:
        return math.nan
    mean = math.fsum(rows) / count
    return math.sqrt(math.fsum((x - mean) ** 2 for x in rows) / (count * (count - 1)))


def gains(scores: Sequence[Score]) -> tuple[float, ...]:
    """What every task says, larger is better."""
    return tuple(score.gain for score in scores)


def overall(scores: Sequence[Score]) -> Estimate:
    """The mean of all gains, with its standard error: tasks have rows of their own."""
    count = len(scores)
    value = math.fsum(gains(scores)) / count
    return Estimate(value, math.sqrt(math.fsum(score.stderr**2 for score in scores)) / count)


def difference(ours: Sequence[Score], theirs: Sequence[Score]) -> Estimate:
    """How much more ours are worth on the same rows: the mean over tasks, with the error of row-wise differences."""
    each = [_difference(a, b) for a, b in zip(ours, theirs, strict=True)]
    count = len(each)
    value = math.fsum(one.value for one in each) / count
    return Estimate(value, math.sqrt(math.fsum(one.stderr**2 for one in each)) / count)


def _difference(ours: Score, theirs: Score) -> Estimate:
    gap = ours.gain - theirs.gain
    if ours.rows is None or theirs.rows is None or len(ours.rows) != len(theirs.rows):
        return Estimate(gap, math.hypot(ours.stderr, theirs.stderr))
    return Estimate(gap, _stderr([a - b for a, b in zip(ours.rows, theirs.rows)]))


def verdict(gap: Estimate) -> str:
    """A difference in a word: within two standard errors it may be nothing."""
    if not math.isfinite(gap.stderr) or abs(gap.value) <= 2 * gap.stderr:
        return "within noise"
    return "better" if gap.value > 0 else "worse"
