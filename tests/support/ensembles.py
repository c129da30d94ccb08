"""Small ensembles of real models, and the functions that some of their members are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from cuvee.predict import Ensemble, Member, Soft
from cuvee.predict.combiners import Linear
from cuvee.predict.state import State
from cuvee.predict.trained import Task

CLASSES = ("setosa", "versicolor", "virginica")
X, _Y = load_iris(return_X_y=True)
Y = np.array(CLASSES)[_Y]
SOME = X[::15]


def thirds(rows: Any) -> Any:
    """A member that knows nothing."""
    return np.full((len(rows), 3), 1 / 3)


def by_length(rows: Any) -> Any:
    """A member that goes by one number."""
    length = np.clip(np.asarray(rows, float)[:, 2] / 7, 0, 1)
    return np.stack([1 - length, length / 2, length / 2], axis=1)


def function(ask: Callable[[Any], Any], name: str = "rule", classes: tuple[Any, ...] = CLASSES) -> Member:
    return Member(name, "callable", ask, "probabilities", classes, thing=ask)


@cache
def fitted() -> tuple[Any, Any]:
    return LogisticRegression(C=0.1, max_iter=500).fit(X, Y), GaussianNB().fit(X, Y)


def of(*members: Member, classes: Sequence[Any] = CLASSES, task: Task = "classification") -> Ensemble:
    """Members of which the mean is taken, as version 1."""
    mean = Linear(tuple(member.name for member in members), np.full(len(members), 1 / len(members)))
    past = [{"number": 0, "what": "made"}, {"number": 1, "what": "put together"}]
    return Ensemble.restored(task, classes, State(1, "put together", members, Soft(), mean), past)


def small() -> Ensemble:
    """Two estimators that were asked something."""
    ensemble = of(*(Member.sklearn(model, name=name) for model, name in zip(fitted(), ("logistic", "bayes"))))
    ensemble.predict_proba(SOME)
    return ensemble


def reform(folder: Path, change: Callable[[dict[str, Any]], object], *, hash_again: bool = True) -> None:
    """Change the form as an attacker would, who also makes its hashes fit."""
    path = folder / "ensemble.json"
    said = json.loads(path.read_text("utf-8"))
    change(said)
    if hash_again:
        for name, entry in said["files"].items():
            if (folder / name).is_file():
                data = (folder / name).read_bytes()
                entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        said.pop("sha256", None)
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        said["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(said), "utf-8")


class Doubler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that skops does not know."""

    def fit(self, X: Any, y: Any = None) -> Doubler:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return 2 * np.asarray(X)


def own_types(*steps: Any, name: str = "own") -> Member:
    """A pipeline with transformers of our own."""
    return Member.sklearn(make_pipeline(*steps, LogisticRegression(max_iter=500)).fit(X, Y), name=name)
