"""One hole of a recipe: a range of numbers or a choice of values, and its way to and from the unit interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Values = Mapping[str, Any]
"""A value for every hole, by name."""

POINTS: Final = 5
"""Points of a range without `step` on a grid."""

_DIGITS: Final = 6
"""Significant digits of a value: far below what any judge can tell apart, and recipes stay readable."""


@dataclass(frozen=True, slots=True)
class Hole:
    """One free number or choice.

    Attributes:
        name: what it is called in values, journals and tables.
        kind: `range` of numbers, or `choice` of options.
        low, high: bounds of a range, both included.
        log: whether a range is spread evenly over logarithms.
        step: distance between the values of a range, counted from `low`; any value without it.
        options: of a choice; texts, numbers, switches or lists.
        start: the value to begin with.
    """

    name: str
    kind: Literal["range", "choice"]
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    options: tuple[Any, ...] = ()
    start: Any = None

    @property
    def first(self) -> Any:
        """The value to begin with: `start`, else the middle of a range or the first option."""
        if self.start is not None:
            return self.start
        return self.at(0.5) if self.kind == "range" else self.options[0]

    @property
    def steps(self) -> int:
        """Steps between the lowest and the highest value of a range with `step`."""
        return math.floor((self.high - self.low) / self.step + 1e-9) if self.step else 0

    def at(self, u: float) -> Any:
        """The value at a place of the unit interval.

        Args:
            u: place; what lies outside [0, 1] counts as the nearer end.

        Example:
            >>> Hole("w", "range", 1, 100, log=True).at(0.5), Hole("m", "choice", options=("a", "b")).at(0.7)
            (10.0, 'b')
        """
        u = min(1.0, max(0.0, u))
        if self.kind == "choice":
            return self.options[min(int(u * len(self.options)), len(self.options) - 1)]
        if self.log:
            return self.snapped(math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low))))
        return self.snapped(self.low + u * (self.high - self.low))

    def snapped(self, value: float) -> float:
        """The nearest value that the range has, with six digits; an integer where `low` and `step` are."""
        if self.step is None:
            return float(min(self.high, max(self.low, float(f"{value:.{_DIGITS}g}"))))
        number = min(self.steps, max(0, round((value - self.low) / self.step)))
        exact = self.low + number * self.step
        return exact if isinstance(exact, int) else min(self.high, float(f"{exact:.{_DIGITS}g}"))

    def place(self, value: Any) -> float:
        """The place of a value in the unit interval; of an option, the middle of its share."""
        if self.kind == "choice":
            return (self.options.index(value) + 0.5) / len(self.options)
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return float((value - self.low) / (self.high - self.low))

    def points(self) -> tuple[Any, ...]:
        """The values of a grid: every option, every step, or five places spread evenly.

        Example:
            >>> Hole("w", "range", 0, 1, step=0.5).points()
            (0.0, 0.5, 1.0)
        """
        if self.kind == "choice":
            return self.options
        if self.step is not None:
            return tuple(self.snapped(self.low + number * self.step) for number in range(self.steps + 1))
        return tuple(self.at(number / (POINTS - 1)) for number in range(POINTS))
