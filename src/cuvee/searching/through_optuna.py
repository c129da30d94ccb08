"""The one place that speaks to Optuna: a study asked and told, its sampler seeded anew for every trial."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from cuvee.errors import Fault, UsageError
from cuvee.searching.holes import Hole, Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Gains, Strategy, seed_of

Sampler = Literal["tpe", "nsga2"]


class OptunaStrategy(Strategy):
    """A sampler of Optuna's as a strategy.

    The sampler of a trial has a seed of its own, of search and trial, so that a suggestion depends on what the study
    holds and not on how many random numbers went before it.

    Args:
        space: what is searched.
        seed: any integer.
        objectives: figures that it is told of each candidate.
        sampler: which.
        population: members of a generation, for samplers that have generations.

    Raises:
        UsageError: Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int, objectives: int, sampler: Sampler, population: int = 0) -> None:
        self._optuna = _library()
        self._space = space
        self._seed = seed
        self._made: Callable[[int], Any] = lambda s: _sampler(self._optuna, sampler, s, population)
        with _quiet():
            self._study = self._optuna.create_study(directions=["maximize"] * objectives, sampler=self._made(0))
            self._study.enqueue_trial({hole.name: _inner(hole, hole.first) for hole in space.holes})
        self._free = {hole.name: _distribution(self._optuna, hole) for hole in space.holes}
        self._trials: deque[Any] = deque()
        self._asked = 0

    def ask(self) -> Values | None:
        """What the sampler suggests; the first is the recipe's `start`."""
        with _quiet():
            self._study.sampler = self._made(seed_of(self._seed, "trial", self._asked))
            trial = self._study.ask(self._free)
        self._asked += 1
        self._trials.append(trial)
        return {hole.name: _outer(hole, trial.params[hole.name]) for hole in self._space.holes}

    def tell(self, gains: Gains | None) -> None:
        """Take in what the oldest suggestion is worth."""
        with _quiet():
            if gains is None:
                self._study.tell(self._trials.popleft(), state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(self._trials.popleft(), list(gains))


def _sampler(optuna: Any, kind: Sampler, seed: int, population: int) -> Any:
    if kind == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    return optuna.samplers.TPESampler(multivariate=True, seed=seed)


def _distribution(optuna: Any, hole: Hole) -> Any:
    if hole.kind == "choice":  # by number: Optuna takes no lists as choices
        return optuna.distributions.CategoricalDistribution(range(len(hole.options)))
    if hole.step is not None:
        return optuna.distributions.IntDistribution(0, hole.steps)
    return optuna.distributions.FloatDistribution(hole.low, hole.high, log=hole.log)


def _inner(hole: Hole, value: Any) -> Any:
    """A value as Optuna has it."""
    if hole.kind == "choice":
        return hole.options.index(value)
    return round((value - hole.low) / hole.step) if hole.step is not None else value


def _outer(hole: Hole, value: Any) -> Any:
    if hole.kind == "choice":
        return hole.options[value]
    return hole.snapped(hole.low + value * hole.step if hole.step is not None else value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells its programmers of what may change in it; what is used here is in its adapter only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _library() -> Any:
    try:
        import optuna
    except ImportError:
        message = "this strategy needs Optuna, which is not installed"
        raise UsageError(Fault("missing-extra", message, None, "optuna", 'pip install "cuvee[search]"')) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
