"""What `cuvee plan` says of the merges that are measured, after a calibration of its own in the same folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from report import Row

from cuvee import api
from cuvee.api.calibrating import ENTRIES, calibrate
from cuvee.api.forecast import forecast
from cuvee.execute.heap import keep_freed_memory
from cuvee.planning import cost, fit_workers


@dataclass(frozen=True)
class Said:
    """What a plan says of a merge: seconds, what they are made of, and the bound of its memory in bytes."""

    seconds: float
    parts: Mapping[str, Any]
    memory: int


def predict_all(methods: Sequence[str], room: Path, *, quick: bool = False) -> dict[str, Said]:
    """Calibrate in a folder, and plan the recipes that lie there; nothing of it is kept for the user's own plans.

    Args:
        methods: the methods.
        room: the folder.
        quick: plan from assumed figures, without a calibration.
    """
    known = None
    if not quick:
        keep_freed_memory()
        known = calibrate(room, entries=ENTRIES, keep=False)
    return {method: said(room / f"{method}.yml", room, known) for method in methods}


def said(recipe: Path, room: Path, known: Any) -> Said:
    """What a plan says of one recipe."""
    plan = api.plan(recipe)
    workers = fit_workers(plan, None)
    found = forecast(plan, workers, room, known).prediction
    return Said(found.seconds, asdict(found), cost(plan, workers).memory)


def compared(predicted: Mapping[str, Said], found: Sequence[Row]) -> list[dict[str, Any]]:
    """Prediction and measurement of every method that was run."""
    rows = {row.what: row for row in found if row.who == "cuvee"}
    return [
        {
            "what": method,
            "seconds": one.seconds,
            "parts": dict(one.parts),
            "measured": rows[method].wall.middle,
            "ratio": one.seconds / rows[method].wall.middle,
            "memory": one.memory,
            "measured_memory": rows[method].anonymous,
        }
        for method, one in predicted.items()
        if method in rows
    ]
