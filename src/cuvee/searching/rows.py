"""Which rows of a task are searched on, and which are kept for the report: different ones, drawn once by the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cuvee.errors import Fault, UsageError
from cuvee.types import Scorer

FIRST: Final = 0.25
LEAST: Final = 16
"""Share of the rows on which a candidate is first judged where hopeless ones are stopped, and the fewest of them."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Rows of a task, in the order in which they are asked."""

    scorer: Scorer
    rows: tuple[int, ...]

    def part(self, start: float, stop: float) -> tuple[int, ...]:
        """The rows between two shares of them."""
        count = len(self.rows)
        return self.rows[round(start * count) : round(stop * count)]


def drawn(
    scorers: Sequence[Scorer], report: Sequence[Scorer], share: float, seed: int
) -> tuple[tuple[Draw, ...], tuple[Draw, ...]]:
    """The rows that are searched on, and those of the report, for every task.

    Args:
        scorers: the objectives.
        report: tasks of their own for the report, all rows of which are used; a share of the objectives' rows without.
        share: of the rows that are kept for the report, in (0, 1).
        seed: of the draw.

    Raises:
        UsageError: a task has too few rows to be divided, or two have one name.
    """
    if wrong := [*_faults(scorers, 1 if report else 2), *_faults(report, 1)]:
        raise UsageError(wrong)
    if report:
        return tuple(_all(one, seed) for one in scorers), tuple(_all(one, seed) for one in report)
    divided = [_divided(one, share, seed) for one in scorers]
    return tuple(first for first, _ in divided), tuple(second for _, second in divided)


def _faults(scorers: Sequence[Scorer], least: int) -> Iterator[Fault]:
    names = [scorer.name for scorer in scorers]
    for scorer in scorers:
        if scorer.count < least:
            message = f"the task `{scorer.name}` should have {least} rows or more; it has {scorer.count}"
            yield Fault("bad-data", message, subject=scorer.name)
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield Fault("bad-argument", f"tasks should have names of their own; `{name}` stands twice", subject=name)


def _all(scorer: Scorer, seed: int) -> Draw:
    order = list(range(scorer.count))
    random.Random(f"{seed}/rows/{scorer.name}").shuffle(order)
    return Draw(scorer, tuple(order))


def _divided(scorer: Scorer, share: float, seed: int) -> tuple[Draw, Draw]:
    order = _all(scorer, seed).rows
    kept = min(len(order) - 1, max(1, round(share * len(order))))
    return Draw(scorer, order[kept:]), Draw(scorer, order[:kept])


def rungs(draws: Sequence[Draw], *, halving: bool) -> tuple[float, ...]:
    """The shares of the rows after which hopeless candidates are stopped; the last is all of them."""
    fewest = min((len(draw.rows) for draw in draws), default=0)
    if not halving or fewest * FIRST < LEAST:
        return (1.0,)
    return (FIRST, 2 * FIRST, 1.0)
