"""A metric by a column of the data: each group with its interval, and the gap between them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from cuvee.errors import Fault, UsageError, listed
from cuvee.judging.answers import Answers
from cuvee.judging.bootstrap import Draws, interval_of
from cuvee.judging.lined_up import LinedUp
from cuvee.judging.metrics.declared import Array, Metric, Undefined, value_of
from cuvee.judging.resampling import resampled
from cuvee.judging.standings import GroupFigure, GroupTable

SMALL: Final = 30
"""Rows below which a group is told to be small, and left out of the gap."""


def group_tables(tasks: Sequence[LinedUp], columns: Sequence[str], how: Draws) -> tuple[GroupTable, ...]:
    """The tables of every task that has a column.

    Raises:
        UsageError: no task has it.
    """
    faults = [_nowhere(column, tasks) for column in columns if not any(_has(task, column) for task in tasks)]
    if faults:
        raise UsageError(faults)
    return tuple(
        group_table(model, task, column, how)
        for column in columns
        for task in tasks
        if _has(task, column)
        for model in task.answers
    )


def _has(task: LinedUp, column: str) -> bool:
    return all(column in (answers.groups or {}) for answers in task.answers.values())


def _nowhere(column: str, tasks: Sequence[LinedUp]) -> Fault:
    known = sorted({name for task in tasks for answers in task.answers.values() for name in answers.groups or {}})
    message = f"no task has the column {column!r} to group by"
    return Fault("bad-argument", message, subject="groups", hint=f"there is {listed(known, 9)}" if known else None)


def group_table(model: str, task: LinedUp, column: str, how: Draws) -> GroupTable:
    """One model on one task: the rows of each group are drawn on their own, as many as it has."""
    answers = task.answers[model]
    names = np.asarray((answers.groups or {})[column])
    figures, draws = [], []
    for name in sorted(set(names.tolist())):
        part = answers.take(np.flatnonzero(names == name))
        seed = (how.seed, zlib.crc32(f"{task.name}\0{column}\0{name}".encode()))
        figure, spread = _figure(name, part, task.metric, how, seed)
        figures.append(figure)
        draws.append(spread)
    gap, low, high = _gap(figures, draws, how)
    return GroupTable(model, task.name, task.metric.name, column, tuple(figures), gap, low, high)


def _figure(name: str, part: Answers, metric: Metric, how: Draws, seed: tuple[int, int]) -> tuple[GroupFigure, Array]:
    small = len(part) < SMALL
    try:
        value = value_of(metric, part)
    except Undefined as error:
        return GroupFigure(name, len(part), None, math.nan, math.nan, small, str(error)), np.empty(0)
    draws = resampled(metric, [part], draws=how.draws, seed=seed)[0]
    good = draws[np.isfinite(draws)]
    if len(part) < 2 or len(good) <= len(draws) // 2:
        return GroupFigure(name, len(part), value, math.nan, math.nan, small), draws
    return GroupFigure(name, len(part), value, *interval_of(value, good, how.level, how.interval), small), draws


def _gap(figures: Sequence[GroupFigure], draws: Sequence[Array], how: Draws) -> tuple[float | None, float, float]:
    """Largest minus smallest value, with its interval."""
    counted = [(f.value, d) for f, d in zip(figures, draws) if not f.small and f.value is not None]
    if len(counted) < 2:
        return None, math.nan, math.nan
    values, spreads = [value for value, _ in counted], np.stack([spread for _, spread in counted])
    gap = max(values) - min(values)
    gaps = spreads.max(axis=0) - spreads.min(axis=0)
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) <= how.draws // 2:
        return gap, math.nan, math.nan
    return gap, *interval_of(gap, gaps, how.level, how.interval)
