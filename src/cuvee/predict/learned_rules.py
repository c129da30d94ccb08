"""What a meta-learner learned: the coefficients of ours, or somebody else's estimator, whose answers are checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cuvee.combine.parts import Array
from cuvee.combine.stacking import Link, linear_answer
from cuvee.errors import Fault, InputError
from cuvee.predict.checking import SUM_TOLERANCE

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Rule:
    """What a linear meta-learner learned: `link(X Wᵀ + b)`.

    Attributes:
        coef: W, `[K, D]`.
        intercept: b, `[K]`.
        link: softmax or identity.
        facts: what was found besides, as JSON can say it.
    """

    coef: Array
    intercept: Array
    link: Link
    facts: dict[str, Any] = field(default_factory=dict)

    def answer(self, X: Array) -> Array:
        """`[N, D]` → `[N, K]`."""
        return linear_answer(X, self.coef, self.intercept, self.link)


@dataclass(frozen=True, eq=False)
class Thing:
    """A fitted estimator.

    Attributes:
        thing: with `predict_proba` and `classes_`, numbers of classes; or with `predict`.
        classes: how many classes there are; 0 for a regression.
    """

    thing: Any
    classes: int
    facts: dict[str, Any] = field(default_factory=dict)

    def answer(self, X: Array) -> Array:
        """`[N, D]` → `[N, K]`.

        Raises:
            InputError: `bad-output`: its answers have another shape, are not finite, or no probabilities;
                `member-failed`: it raised.
        """
        width, numbers = max(1, self.classes), self._numbers()
        if not len(X):
            return np.zeros((0, width))
        ask = self.thing.predict_proba if self.classes else self.thing.predict
        found = np.asarray(done(lambda: ask(X), self.thing, f"failed on {len(X):,} rows"), np.float64)
        found = found if self.classes else found.reshape(len(X), -1)
        if found.shape != (len(X), len(numbers)) or not np.isfinite(found).all():
            message = f"the meta-learner should give finite answers of the shape {[len(X), len(numbers)]}; "
            raise InputError(Fault("bad-output", f"{message}found {list(found.shape)}"))
        whole = np.zeros((len(X), width))
        whole[:, numbers] = found
        return _probabilities(whole) if self.classes else whole

    def _numbers(self) -> Array:
        """The classes of its columns."""
        if not self.classes:
            return np.zeros(1, np.int64)
        numbers = np.asarray(getattr(self.thing, "classes_", ()))
        if numbers.dtype.kind not in "iu" or not np.isin(numbers, np.arange(self.classes)).all() or not numbers.size:
            message = f"a fitted meta-learner has `classes_`, numbers of classes below {self.classes}; "
            message += f"{type(self.thing).__qualname__} has {getattr(self.thing, 'classes_', 'none')!s:.100}"
            raise InputError(Fault("bad-output", message, subject="meta"))
        return numbers


def _probabilities(found: Array) -> Array:
    """Rows that sum to one.

    Raises:
        InputError: `bad-output`: they are no probabilities, beyond rounding.
    """
    off = (found.min(axis=1) < 0) | (np.abs(found.sum(axis=1) - 1) > SUM_TOLERANCE)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        seen = ", ".join(f"{value:.4g}" for value in found[row, :6])
        message = f"the meta-learner should give probabilities, which sum to one; found [{seen}] in row {row}"
        raise InputError(Fault("bad-output", message, subject="meta"))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def done(work: Callable[[], T], meta: Any, what: str) -> T:
    """What somebody else's code gives.

    Raises:
        InputError: `member-failed`: it raised.
    """
    try:
        return work()
    except Exception as error:
        said = " ".join(str(error).split())[:500]
        message = f"the meta-learner {type(meta).__qualname__} {what}: {type(error).__name__}: {said}"
        raise InputError(Fault("member-failed", message, subject="meta")) from error
