"""What was found in the models themselves, or why nothing was."""

from __future__ import annotations

from dataclasses import dataclass

from cuvee.reporting.applied import Applied
from cuvee.reporting.layers import Cell


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the models gave.

    Attributes:
        applied: what the plan says; `None` where the models are not there.
        cells: figures of the tensors.
        why: why there is no plan, or why there are no figures.
        notes: what should be known of the figures.
    """

    applied: Applied | None = None
    cells: tuple[Cell, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()
