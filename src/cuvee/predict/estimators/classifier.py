"""An ensemble of classifiers trained from scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from cuvee.combine import Array
from cuvee.predict.estimators.common import EnsembleEstimator
from cuvee.predict.trained import Task


class EnsembleClassifier(ClassifierMixin, EnsembleEstimator):  # type: ignore[misc]
    """Classifiers trained side by side and combined; the combiner is fitted on cross-fitted predictions.

    Args:
        estimators: a list of (name, estimator); `"drop"` leaves one out. Without it those of `family`.
        family: `mixed`: a linear model, nearest neighbours, a forest, boosted trees; `bagged`; `boosted`.
        combiner: a combiner of `cuvee.predict` or its name, such as `greedy`, `stack`, `soft`, `median`.
        cv: how rows are split to cross-fit, as `cuvee.predict.cross_fit` takes it; a number is made smaller where
            there are fewer rows.
        keep: `refit`: members are trained again on all rows; `folds`: each is the mean of its fold models.
        fewest: rows that each class must have; fewer are refused.
        random_state: seed of the splits and of members that have none.

    Attributes:
        classes_: the labels in order.
        estimators_: the fitted members, each a list of fold models with `keep="folds"`. They were trained on the
            numbers of the classes, 0 … K − 1, which all libraries take.
        combiner_: the fitted combiner.
        bank_: the cross-fitted predictions; no rows where the combiner learns nothing.
        notes_: what a user should know of the bank.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> EnsembleClassifier(combiner="soft", random_state=0).fit(X, y).predict(X[:2]).tolist()
        [0, 0]
    """

    _task: ClassVar[Task] = "classification"

    def fit(self, X: Any, y: Any, **params: Any) -> EnsembleClassifier:
        """Train all members and fit the combiner.

        Args:
            X: rows: a matrix, a sparse one where all members take it, a data frame, texts.
            y: labels, `[n]`.
            params: `sample_weight`, `[n]`, for members that take it; the combiner counts all rows the same. Rows of
                weight 0 are left out before anything is split.

        Raises:
            ValueError: anything is wrong with the rows, the labels, the weights or the members.
        """
        if y is None:
            raise ValueError("This EnsembleClassifier requires y to be passed, but the target y is None.")
        rows = self._rows(X, reset=True)
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        check_consistent_length(rows, labels)
        rows, labels, weights = self._weighed(rows, labels, params)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            (only,) = self.classes_.tolist()
            where = "" if weights is None else " among rows whose sample_weight is above 0"
            raise ValueError(f"an ensemble of classifiers needs at least 2 classes{where}; found 1 class: {only!r}")
        self._fit_members(rows, numbers, weights, tuple(self.classes_.tolist()))
        return self

    def predict_proba(self, X: Any) -> Array:
        """The combined probabilities, `[n, K]`, columns in the order of `classes_`."""
        return self._combined(X)

    def predict(self, X: Any) -> Any:
        """The most probable label of each row, `[n]`."""
        found = self._combined(X)
        return self.classes_[found.argmax(axis=1)]

    def _unfit(self, estimator: Any) -> str:
        if not is_classifier(estimator):
            return "is no classifier"
        if not hasattr(estimator, "predict_proba"):
            return "gives no probabilities (wrap it in CalibratedClassifierCV)"
        return ""

    def _asker(self, model: Any) -> Callable[[Any], Array]:
        return model.predict_proba  # type: ignore[no-any-return]

    def _aligned(self, model: Any, rows: Any) -> Array:
        found = model.predict_proba(rows)
        if len(model.classes_) == len(self.classes_):
            return found  # type: ignore[no-any-return]
        whole = np.zeros((len(found), len(self.classes_)))  # a fold model that has not seen a rare class
        whole[:, model.classes_] = found
        return whole
