"""Estimators trained anew on other rows: cloned with their settings, on labels or on numbers of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cuvee.predict.labels import Label, named
from cuvee.predict.members.tables import as_frame, as_table
from cuvee.predict.trained import Trained

Again = Callable[..., Trained]
Clone = Callable[[Any], Any]


def refitter(member: Trained, again: Again, clone: Clone) -> Callable[[Any, Any], Trained] | None:
    """What trains a member anew; `None` where that cannot be done honestly.

    A member with `inverse` cannot: the right values are on the ensemble's scale, and its own is not known. Nor can one
    with a part that was fitted once and for all (`FrozenEstimator`, `cv="prefit"`): it has seen the rows.

    Args:
        member: the member.
        again: an estimator, with its `name`, `classes` and `label_map` → a member, otherwise like this one.
        clone: an estimator → one with its settings that is not fitted.

    Returns:
        A function of what it reads of n rows and of their labels by the ensemble's names, or their values.
    """
    if member.inverse is not None or member.output == "embeddings" or _is_frozen(member.thing):
        return None
    return lambda X, y: refitted(member, again, clone, X, y)


def refitted(member: Trained, again: Again, clone: Clone, X: Any, y: Any) -> Trained:
    """A fresh member; a class that no row has is one that it does not know, and gets 0 unless its policy says more."""
    fresh, right = clone(member.thing), np.asarray(y)
    if member.task == "regression":
        return again(fresh.fit(_fitting(X), right), name=member.name)
    labels = [named(label) for label in right.tolist()]
    present = _ordered(labels, member.known)
    numbers: Mapping[Label, int] = {label: number for number, label in enumerate(present)}
    if _wants_numbers(member):
        _for_two(_last(fresh), len(present))
        fresh.fit(_fitting(X), np.array([numbers[label] for label in labels], dtype=np.int64))
        made = again(fresh, name=member.name, classes=present)
    else:
        made = again(fresh.fit(_fitting(X), np.array(labels)), name=member.name)
    absent = [label for label in dict.fromkeys(member.known) if label not in numbers]
    if not absent:
        return made
    note = f"{member.name!r} was trained on rows without {', '.join(map(repr, absent))}"
    return replace(made, missing="zero" if made.missing == "error" else made.missing, notes=(*made.notes, note))


def _fitting(X: Any) -> Any:
    """Rows to be fitted on; columns become a data frame, so that the model knows them by name."""
    return as_frame(X, list(X)) if isinstance(X, Mapping) else as_table(X, None)


def _ordered(labels: Sequence[Label], known: Sequence[Label]) -> list[Label]:
    """The labels that are there, each once, in the order of the member's classes."""
    there = dict.fromkeys(labels)
    return [*(label for label in dict.fromkeys(known) if label in there), *(one for one in there if one not in known)]


def _wants_numbers(member: Trained) -> bool:
    """Whether it is trained on numbers of classes: its classes were given, or it is XGBoost's, which takes no other."""
    return bool(member.settings.get("encoded")) or _is_xgboost(_last(member.thing))


def _for_two(model: Any, count: int) -> None:
    """XGBoost writes into its own settings, which are cloned, that there were several classes; with two it fails."""
    if count == 2 and _is_xgboost(model) and str(model.objective).startswith("multi:"):
        model.set_params(objective="binary:logistic")


def _is_xgboost(model: Any) -> bool:
    return type(model).__module__.startswith("xgboost")


def _last(model: Any) -> Any:
    return model.steps[-1][1] if hasattr(model, "steps") else model


def _is_frozen(model: Any) -> bool:
    """Whether a part of an estimator does not change when it is fitted."""
    if type(model).__name__ == "FrozenEstimator" or not hasattr(model, "get_params"):
        return type(model).__name__ == "FrozenEstimator"
    parts = model.get_params(deep=True).values()
    return any(
        type(part).__name__ == "FrozenEstimator" or (isinstance(part, str) and part == "prefit") for part in parts
    )
