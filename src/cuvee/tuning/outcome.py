"""What came of tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee.tuning.loop import Check
from cuvee.tuning.losses import Measured, ratio_error


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its standard error over rows."""

    value: float
    stderr: float


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What came of tuning.

    Attributes:
        path: the folder that was made.
        before, after: loss of the held-out rows in nats per prediction, of the model as it was and as it is written;
            `None` where no rows are held out.
        gain: by how much it fell, paired by row.
        losses: of every step's batch, before the step.
        checks: what was seen of the held-out rows, the start first.
        kept: the step after which the state was kept; 0 is the model as it was.
        stopped: whether it ended early.
        tensors: names of the tensors that changed.
        trained: numbers that were trained.
        training_rows, held_rows: rows on each side.
        record: the output's `cuvee.json`.
        notes: what the user should know.
    """

    path: Path
    before: Figure | None
    after: Figure | None
    gain: Figure | None
    losses: tuple[float, ...]
    checks: tuple[Check, ...]
    kept: int
    stopped: bool
    tensors: tuple[str, ...]
    trained: int
    training_rows: int
    held_rows: int
    record: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def figure(found: Measured | None) -> Figure | None:
    """The loss on rows with its error."""
    return None if found is None else Figure(found.loss, found.stderr)


def gained(before: Measured | None, after: Measured | None) -> Figure | None:
    """By how much the loss fell; its error is that of the differences of rows, which is less than either's."""
    if before is None or after is None:
        return None
    sums = [b - a for b, a in zip(before.sums, after.sums, strict=True)]
    return Figure(before.loss - after.loss, ratio_error(sums, before.counts))
