"""What a judge says of a model: a value with its error bar, and whom to ask for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Direction = Literal["higher", "lower"]
"""Which of two values is the better one."""


@dataclass(frozen=True, slots=True)
class Score:
    """One figure about one model on one task.

    Attributes:
        metric: name of the metric.
        value: the figure.
        stderr: its standard error over rows; NaN where there is none to give, as for a single row.
        n: rows that it is over.
        direction: whether higher or lower values are better.
        rows: what each row adds, where the figure is their mean; `None` where it is not, as for F1 or AUC.
    """

    metric: str
    value: float
    stderr: float
    n: int
    direction: Direction
    rows: tuple[float, ...] | None = None

    @property
    def gain(self) -> float:
        """The value, negated where lower is better: larger is better."""
        return self.value if self.direction == "higher" else -self.value


class Scorer(Protocol):
    """A task that models in memory can be asked.

    It may also have `content`, a text that changes with whatever its scores depend on: a search does not go on with a
    task whose `content` has changed.
    """

    @property
    def name(self) -> str:
        """What the task is called."""

    @property
    def count(self) -> int:
        """Number of its rows."""

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        """Judge a model.

        Args:
            model: what the task runs: for most a model of transformers in evaluation mode.
            rows: which rows, by number from 0; all without it.
        """
