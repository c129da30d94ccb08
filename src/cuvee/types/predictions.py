"""Several models that answer as one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PredictionAverage:
    """An ensemble: the mean of what its members predict, each counting the same.

    Attributes:
        models: model folders, hub ids or recipe files.
    """

    models: tuple[str, ...]
