"""Members that say what they are told, and small trained ones: what tests of live ensembles are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cuvee.predict import Bank, Cost, Ensemble, Member

Array = np.ndarray[Any, Any]
CLASSES = ("a", "b", "c")


def saying(
    name: str, sharpness: float, *, cost: float | None = None, classes: Sequence[str] = CLASSES, tilt: float = 0.0
) -> Member:
    """A member whose rows `[D]` are its logits, sharpened and turned round a little: any row has an answer."""

    def ask(X: Any) -> Array:
        rows = np.asarray(X, np.float64)[:, : len(classes)]
        logits = sharpness * rows + tilt * np.roll(rows, 1, axis=1)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Array = powers / powers.sum(axis=1, keepdims=True)
        return found

    priced = None if cost is None else Cost(us_per_row=cost, batch=100, nbytes=int(1000 * cost))
    return Member(name, "callable", ask, "probabilities", tuple(classes), cost=priced)


def task(n: int, seed: int = 0, *, noise: float = 1.0) -> tuple[Array, list[str]]:
    """Rows of three numbers and the class that the largest of them, with noise, points to."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 3))
    best = (X + noise * generator.normal(size=X.shape)).argmax(axis=1)
    return X, [CLASSES[k] for k in best]


def three(**settings: Any) -> Ensemble:
    """An ensemble of a good member, one that is turned round a little, and a bad one."""
    ensemble = Ensemble(task="classification", classes=CLASSES, **settings)
    ensemble.add(saying("good", 1.5, cost=10.0))
    ensemble.add(saying("tilted", 1.0, cost=4.0, tilt=0.7))
    ensemble.add(saying("bad", -1.0, cost=1.0))
    return ensemble


def banked(ensemble: Ensemble, n: int = 200, seed: int = 0, *, prefix: str = "row") -> Bank:
    """Predictions of its members on rows held out."""
    X, y = task(n, seed)
    return ensemble.predictions(X, y, ids=[f"{prefix}{i}" for i in range(n)])


def failing(name: str, wrong: Callable[[Any], Any] | None = None) -> Member:
    """A member that raises, or answers wrongly."""

    def ask(X: Any) -> Any:
        if wrong is not None:
            return wrong(X)
        raise RuntimeError("out of order")

    return Member(name, "callable", ask, "probabilities", CLASSES)
