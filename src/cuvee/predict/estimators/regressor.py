"""An ensemble of regressors trained from scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, is_regressor
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, column_or_1d

from cuvee.combine import Array
from cuvee.predict.estimators.common import EnsembleEstimator
from cuvee.predict.trained import Task


class EnsembleRegressor(RegressorMixin, EnsembleEstimator):  # type: ignore[misc]
    """Regressors trained side by side and combined; the combiner is fitted on cross-fitted predictions.

    Args:
        estimators: a list of (name, estimator); `"drop"` leaves one out. Without it those of `family`.
        family: `mixed`: a linear model, nearest neighbours, a forest, boosted trees; `bagged`; `boosted`.
        combiner: a combiner of `cuvee.predict` or its name, such as `greedy`, `stack`, `soft`, `median`.
        cv: how rows are split to cross-fit, as `cuvee.predict.cross_fit` takes it; a number is made smaller where
            there are fewer rows.
        keep: `refit`: members are trained again on all rows; `folds`: each is the mean of its fold models.
        fewest: rows that there must be; fewer are refused.
        random_state: seed of the splits and of members that have none.

    Attributes:
        estimators_: the fitted members, each a list of fold models with `keep="folds"`.
        combiner_: the fitted combiner.
        bank_: the cross-fitted predictions; no rows where the combiner learns nothing.
        notes_: what a user should know of the bank.
    """

    _task: ClassVar[Task] = "regression"

    def fit(self, X: Any, y: Any, **params: Any) -> EnsembleRegressor:
        """Train all members and fit the combiner.

        Args:
            X: rows: a matrix, a sparse one where all members take it, a data frame, texts.
            y: values, `[n]`.
            params: `sample_weight`, `[n]`, for members that take it; the combiner counts all rows the same. Rows of
                weight 0 are left out before anything is split.

        Raises:
            ValueError: anything is wrong with the rows, the values, the weights or the members.
        """
        if y is None:
            raise ValueError("This EnsembleRegressor requires y to be passed, but the target y is None.")
        rows = self._rows(X, reset=True)
        values = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"), warn=True)
        check_consistent_length(rows, values)
        self._fit_members(*self._weighed(rows, values, params), ())
        return self

    def predict(self, X: Any) -> Array:
        """The combined value of each row, `[n]`."""
        return self._combined(X)[:, 0]

    def _unfit(self, estimator: Any) -> str:
        return "" if is_regressor(estimator) else "is no regressor"

    def _asker(self, model: Any) -> Callable[[Any], Array]:
        return model.predict  # type: ignore[no-any-return]

    def _aligned(self, model: Any, rows: Any) -> Array:
        return np.asarray(model.predict(rows), np.float64).reshape(-1, 1)
