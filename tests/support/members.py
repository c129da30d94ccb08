"""Members made by hand: functions that answer what a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cuvee.predict.member import Member

ABC = ("a", "b", "c")


def saying(answers: Any, classes: Sequence[Any] = ABC, name: str = "m", **more: Any) -> Member:
    """A member that gives these answers, the first of them where fewer rows are asked."""
    given = np.asarray(answers)
    return Member.callable(lambda X: given[: len(X)], name=name, classes=classes, **more)


def doing(function: Callable[[Any], Any], classes: Sequence[Any] = ABC, name: str = "m", **more: Any) -> Member:
    """A member that is a function."""
    return Member.callable(function, name=name, classes=classes, **more)


def drawn(n: int, k: int, seed: int = 0) -> Any:
    """Probabilities of n rows over k classes."""
    return np.random.default_rng(seed).dirichlet(np.ones(k), n)
