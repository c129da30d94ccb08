"""What a strategy is: it is asked for values, and told what they are worth. The strategies by name.

A strategy knows nothing of models, judges or files. Its answers follow from its seed and from what it was told in which
order, and from nothing else: that is why telling it again what a journal holds brings it back to where it was.
"""

from __future__ import annotations

import importlib
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from cuvee.errors import Fault, UsageError, nearest
from cuvee.searching.holes import Values
from cuvee.searching.space import Space

Gains = tuple[float, ...]
"""What a candidate is worth, one figure per objective: larger is better."""


class Strategy(ABC):
    """Asks for values to be tried, one at a time, and takes in what they are worth, in the order of asking.

    Attributes:
        halves: whether hopeless candidates may be told by what they are worth on some of the rows.
        several: whether objectives are told one by one; their mean is told without it.
        latest: whether, of equally good candidates, the last one is the result, rather than the first.
    """

    halves: ClassVar[bool] = False
    several: ClassVar[bool] = False
    latest: ClassVar[bool] = False

    @abstractmethod
    def ask(self) -> Values | None:
        """The next values to try; `None` where it must be told first, or where there is nothing left to try."""

    @abstractmethod
    def tell(self, gains: Gains | None) -> None:
        """Take in what the oldest values not yet told of are worth; `None` where that could not be found out."""


Course = Generator[Values, float | None, None]
"""A strategy as one function: it yields values, and gets what they are worth."""


class OneByOne(Strategy):
    """A strategy that is a course: it must be told before it is asked again."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._next: deque[Values] = deque()
        self._step(None)

    def ask(self) -> Values | None:
        """The next values, or nothing until they are told of."""
        return self._next.popleft() if self._next else None

    def tell(self, gains: Gains | None) -> None:
        """Go on with the course."""
        self._step(None if gains is None else gains[0])

    def _step(self, gain: float | None) -> None:
        try:
            self._next.append(self._course.send(gain))
        except StopIteration:
            return


@dataclass(frozen=True, slots=True)
class Entry:
    """A strategy as it is known before it is made.

    Attributes:
        module: of this package, with a function `make(space, seed, objectives)`.
        about: what it does, in a line.
        endless: whether it goes on for as long as it is asked.
    """

    module: str
    about: str
    endless: bool


STRATEGIES: Final[Mapping[str, Entry]] = {
    "grid": Entry("grid", "every combination of steps and options", False),
    "random": Entry("sampling", "values drawn at random", True),
    "sobol": Entry("sampling_sobol", "values spread evenly by a scrambled Sobol sequence", True),
    "tpe": Entry("tpe", "Parzen estimators of good and bad values (Optuna)", True),
    "cma-es": Entry("evolution", "a normal distribution that moves and stretches (cmaes)", True),
    "nsga2": Entry("nsga2", "a population for several objectives, and its Pareto set (Optuna)", True),
    "coordinate": Entry("coordinate", "one hole after the other, in steps that are halved", False),
    "uniform-soup": Entry("soups_uniform", "all models included", False),
    "greedy-soup": Entry("soups", "models included one by one, best first, as long as the result does not fall", False),
    "pool": Entry("pool", "members, base and method of a pool of models, then their settings", False),
}
"""All strategies by name."""


def make_strategy(name: str, space: Space, seed: int, objectives: int) -> Strategy:
    """A strategy at its beginning.

    Args:
        name: a key of `STRATEGIES`.
        space: what is searched.
        seed: any integer.
        objectives: how many.

    Raises:
        UsageError: there is no such strategy, it does not fit the space, or what it needs is not installed.
    """
    if name not in STRATEGIES:
        message = f"there is no strategy `{name}`"
        raise UsageError(Fault("bad-argument", message, subject="strategy", hint=nearest(name, STRATEGIES)))
    module = importlib.import_module(f"cuvee.searching.{STRATEGIES[name].module}")
    made: Callable[[Space, int, int], Strategy] = module.make
    return made(space, seed, objectives)


def seed_of(seed: int, *of: object) -> int:
    """A seed of its own for a trial or a part, below 2³²: the same on every machine and in every process."""
    return random.Random("/".join(map(str, (seed, *of)))).randrange(2**32)


def refuse_space(name: str, message: str, hint: str | None = None) -> UsageError:
    """The error of a strategy that cannot search a space."""
    return UsageError(Fault("bad-argument", message, subject=name, hint=hint))
