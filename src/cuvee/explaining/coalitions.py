"""Which sets of parts are scored: all 2ᴷ where that is within the budget, else those that drawn orders pass through.

A set is a number whose bit i says whether part i is in it: 0 is nothing, 2ᴷ − 1 is all.

Orders are drawn in pairs, each with its reverse (antithetic): where a part comes early in one it comes late in the
other. How many there are follows from the budget before any is drawn, because to stop at the order that no longer fits
would favour those that share sets, and with them some parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cuvee.errors import Fault, UsageError

Order = tuple[int, ...]

_PAIRS: Final = 2
"""Fewest pairs of orders: of one alone no error can be told."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is scored.

    Attributes:
        parts: how many parts there are.
        coalitions: the sets, each once: nothing, all, every part alone, all but each part, and the others.
        orders: the drawn orders, pairs next to each other; `None` where every set is scored.
    """

    parts: int
    coalitions: tuple[int, ...]
    orders: tuple[Order, ...] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether every set is scored."""
        return self.orders is None

    @property
    def whole(self) -> int:
        """The set of all parts."""
        return (1 << self.parts) - 1

    def at(self, coalition: int) -> int:
        """The place of a set among those that are scored."""
        return self.coalitions.index(coalition)


def course(parts: int, budget: int, seed: int = 0) -> Course:
    """What to score.

    Args:
        parts: number of parts, 1 or more.
        budget: most sets that are scored.
        seed: of the drawn orders.

    Raises:
        UsageError: the budget is too small for two pairs of orders.

    Example:
        >>> course(2, 4).coalitions
        (0, 3, 1, 2)
    """
    if 1 << min(parts, 62) <= budget:
        every = dict.fromkeys([*_always(parts), *range(1 << parts)])
        return Course(parts, tuple(every))
    first = dict.fromkeys(_always(parts))
    pairs = (budget - len(first)) // _cost_of_pair(parts)
    if pairs < _PAIRS:
        least = min(1 << parts, len(first) + _PAIRS * _cost_of_pair(parts))
        message = f"{parts} parts need a budget of {least} sets or more; found {budget}"
        raise UsageError(Fault("bad-argument", message, subject="budget", hint=f"all sets are {1 << parts:,}"))
    generator = np.random.default_rng(abs(seed))
    orders: list[Order] = []
    for _ in range(pairs):
        order = tuple(int(part) for part in generator.permutation(parts))
        orders += [order, order[::-1]]
    passed = dict.fromkeys([*first, *(one for order in orders for one in prefixes(order))])
    return Course(parts, tuple(passed), tuple(orders))


def _always(parts: int) -> Iterator[int]:
    """The sets that are always scored: nothing, all, each part alone, all but each."""
    whole = (1 << parts) - 1
    yield from (0, whole)
    yield from (1 << part for part in range(parts))
    yield from (whole & ~(1 << part) for part in range(parts))


def _cost_of_pair(parts: int) -> int:
    """Sets that a pair of orders may add: those of 2 to K − 2 parts, of each."""
    return max(1, 2 * (parts - 3))


def prefixes(order: Sequence[int]) -> list[int]:
    """The sets that an order passes through, from nothing to all.

    Example:
        >>> prefixes((2, 0, 1))
        [0, 4, 5, 7]
    """
    found = [0]
    for part in order:
        found.append(found[-1] | 1 << part)
    return found


def members(coalition: int) -> list[int]:
    """The parts of a set.

    Example:
        >>> members(5)
        [0, 2]
    """
    return [part for part in range(coalition.bit_length()) if coalition >> part & 1]
