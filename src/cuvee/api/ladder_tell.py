"""A ladder as it is told: all forms judged on the rows that nothing was chosen on, timed, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cuvee.api.evaluating import evaluate
from cuvee.api.ladder_course import Form, Run
from cuvee.api.ladder_measure import seconds_per_row
from cuvee.errors import CuveeError
from cuvee.judging.comparing import compare
from cuvee.judging.ladder import RUNGS, Ladder, Price, Rung


def told(run: Run, made: Mapping[str, Form | CuveeError]) -> Ladder:
    """All rungs on the rows that they are judged on."""
    there = {name: one for name, one in made.items() if isinstance(one, Form)}
    run.say("times")
    seconds = _seconds(run, there)
    metrics = {task: metric.name for task, metric in run.measure.metrics.items()}
    raw = run.measure.units is None
    judged = {name: run.parts.to_judge(form.answers) for name, form in there.items()}
    found = compare(
        {(name, task): one for name, answers in judged.items() for task, one in answers.items()},
        parents=["best single"],
        metrics=metrics,
        raw=raw,
        how=run.asked.how,
    )
    rungs = tuple(_rung(name, made[name], found, seconds.get(name), raw) for name in RUNGS)
    first = next(iter(run.measure.metrics.values()))
    unit = first.name if raw else "share of the best single model's scores"
    direction = first.direction if raw else "higher"
    counts = [{task: len(ids) for task, ids in part.items()} for part in (run.parts.judged, run.parts.chosen)]
    notes = tuple(dict.fromkeys([*run.notes, *_notes(counts, there)]))
    return Ladder(run.names, metrics, unit, direction, rungs, counts[0], counts[1], run.asked.how, notes)


def _rung(name: str, form: Form | CuveeError, found: Any, seconds: float | None, raw: bool) -> Rung:
    if isinstance(form, CuveeError):
        why = form.faults[0]
        reason = f"{why.message}; {why.hint}" if why.hint else why.message
        return Rung(name, "", {}, None, float("nan"), None, Price(), reason)
    standing = found[name]
    scores = {task: cell.score for task, cell in standing.cells.items()}
    higher = not raw or next(iter(scores.values())).direction == "higher"
    units = {task: 1.0 if raw else found["best single"].cells[task].score.value for task in scores}
    spread = np.array([score.stderr / abs(units[task]) for task, score in scores.items()])
    stderr = float(np.sqrt((spread**2).sum()) / len(spread))
    against = None if standing.against is None else standing.against.difference
    price = replace(form.price, seconds_per_row=seconds)
    return Rung(name, form.what, scores, standing.mean if higher else -standing.mean, stderr, against, price)


def _seconds(run: Run, there: Mapping[str, Form]) -> dict[str, float | None]:
    """Rung → the time of a row; the cascade's follows from those of its two parts."""
    if not run.asked.time_rows:
        return {}
    tasks = [replace(one, rows=one.rows[: run.asked.time_rows], groups={}) for one in run.tasks]
    asked = {key: value for key, value in run.asked.asking.items() if key not in ("limit", "cache")}
    timed = partial(seconds_per_row, partial(evaluate, **asked), tasks=tasks)
    found: dict[str, float | None] = {n: timed(form.systems) for n, form in there.items() if form.seconds is None}
    for name, form in there.items():
        if form.seconds is not None:
            same = form.systems == there["best single"].systems
            first = found["best single"] if same else timed(form.systems)
            found[name] = form.seconds({**found, "first": first})
    return found


def _notes(counts: Sequence[Mapping[str, int]], there: Mapping[str, Form]) -> list[str]:
    judged, chosen = (sum(part.values()) for part in counts)
    notes = [
        f"all rungs are judged on the same {judged:,} rows; what was chosen was chosen on {chosen:,} others",
    ]
    if "cascade" in there:
        notes.append(
            "the cascade's time is worked out: that of its first model, and the ensemble's for its share of rows"
        )
    if few := [task for task, n in counts[0].items() if n < 30]:
        notes.append(f"fewer than 30 rows judged: {', '.join(few)}; bootstrap intervals of so few rows are too narrow")
    return notes
