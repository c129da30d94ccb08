"""Rows in the form that estimators take: named columns where they know names, and in the order that they know."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cuvee.errors import Fault, InputError, nearest


def as_table(X: Any, model: Any) -> Any:
    """Rows as an estimator takes them.

    A model that was fitted on named columns gets them by name, whatever their order: a data frame stays one, columns
    become one. A model that was fitted on bare numbers gets bare numbers. Tensors become arrays; texts stay a list.

    Args:
        X: what a member reads.
        model: the estimator.

    Raises:
        InputError: `bad-data`: a column that it was fitted on is not there.
    """
    if hasattr(X, "detach"):
        return X.detach().cpu().numpy()
    names: Any = getattr(model, "feature_names_in_", None)
    known = None if names is None else [str(name) for name in names]
    if isinstance(X, Mapping):
        return _of_columns(X, known)
    if hasattr(X, "iloc") and known is not None:
        _check_there([str(name) for name in X.columns], known)
        return X if list(X.columns) == list(names) else X[list(names)]
    if hasattr(X, "iloc") and known is None and hasattr(model, "n_features_in_"):
        return X.to_numpy()
    return X


def _of_columns(columns: Mapping[str, Any], known: Sequence[str] | None) -> Any:
    if known is None:
        return np.column_stack([np.asarray(column) for column in columns.values()])
    _check_there(list(columns), known)
    return as_frame(columns, known)


def as_frame(columns: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Columns as a data frame, or as a matrix where pandas is not installed."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return np.column_stack([np.asarray(columns[name]) for name in names])
    return pandas.DataFrame({name: columns[name] for name in names})


def _check_there(found: Sequence[str], known: Sequence[str]) -> None:
    if lacking := [name for name in known if name not in found]:
        raise InputError(
            [
                Fault("bad-data", f"the model was fitted on a column {name!r}", None, name, nearest(name, found))
                for name in lacking[:20]
            ]
        )
