"""Families of estimators by name, all of scikit-learn and LightGBM: what an ensemble is trained of from scratch.

mixed     a linear model, nearest neighbours, a forest and boosted trees: unlike models err on unlike rows
bagged    one kind of tree on many draws of the rows, with and without draws of the columns
boosted   trees that each mend what those before left: scikit-learn's, and LightGBM's where it is installed
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Literal

from cuvee.combine import Array
from cuvee.errors import Fault, UsageError, nearest
from cuvee.predict.estimators.boosting import has_lightgbm, lightgbm_trees
from cuvee.predict.member import Member
from cuvee.predict.trained import Task

Family = Literal["mixed", "bagged", "boosted"]
Named = list[tuple[str, Any]]


def family_of(name: str, task: Task) -> Named:
    """The estimators of a family, fresh, as (name, estimator).

    Raises:
        UsageError: there is no such family.
    """
    if name not in FAMILIES:
        message = f"there is no family `{name}` of estimators"
        raise UsageError(Fault("bad-argument", message, subject="family", hint=nearest(str(name), FAMILIES)))
    return FAMILIES[name](task)


def _mixed(task: Task) -> Named:
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_classes = task == "classification"
    linear = LogisticRegression(max_iter=1000) if is_classes else Ridge()
    near = (KNeighborsClassifier if is_classes else KNeighborsRegressor)()
    return [
        ("linear", make_pipeline(StandardScaler(), linear)),
        ("neighbours", make_pipeline(StandardScaler(), near)),
        ("forest", (RandomForestClassifier if is_classes else RandomForestRegressor)(100)),
        ("boosted", (HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor)()),
    ]


def _bagged(task: Task) -> Named:
    from sklearn.ensemble import BaggingClassifier, BaggingRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    is_classes = task == "classification"
    bag = BaggingClassifier if is_classes else BaggingRegressor
    tree = DecisionTreeClassifier if is_classes else DecisionTreeRegressor
    return [
        ("rows", bag(tree(), n_estimators=50)),
        ("rows_and_columns", bag(tree(max_features="sqrt"), n_estimators=50)),
    ]


def _boosted(task: Task) -> Named:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    own = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    more = [("lightgbm", lightgbm_trees(task))] if has_lightgbm() else []
    return [("histogram", own()), *more]


FAMILIES: Final[dict[str, Callable[[Task], Named]]] = {"mixed": _mixed, "bagged": _bagged, "boosted": _boosted}
"""Family → what makes its estimators for a task."""

PRESETS: Final[dict[str, tuple[Family, str]]] = {
    "bagged": ("bagged", "soft"),
    "boosted": ("boosted", "soft"),
    "voted": ("mixed", "soft"),
    "stacked": ("mixed", "stack"),
    "blended": ("mixed", "greedy"),
}
"""Ways to train an ensemble: the family of its members, and the combiner."""


def untrained_member(name: str, estimator: Any, task: Task) -> Member:
    """An estimator that was never fitted, as a member for cross-fitting: each training is of a clone."""
    from sklearn.base import clone

    def refit(X: Any, y: Array) -> Member:
        fitted = clone(estimator).fit(X, y)
        if task == "regression":
            return replace(made, ask=fitted.predict, thing=fitted)
        return replace(made, ask=fitted.predict_proba, thing=fitted, classes=tuple(fitted.classes_.tolist()))

    output = "values" if task == "regression" else "probabilities"
    made = Member(name=name, kind="sklearn", ask=lambda _: None, output=output, refit=refit)  # type: ignore[arg-type]
    return made
