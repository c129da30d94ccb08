"""What the classifier and the regressor share: members cross-fitted, a combiner fitted on the bank, members trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from cuvee.combine import Array
from cuvee.errors import CuveeError
from cuvee.predict.bank import Bank
from cuvee.predict.combiners import COMBINERS, Batch, Combiner
from cuvee.predict.cross_fitting import cross_fit
from cuvee.predict.estimators.families import PRESETS, family_of
from cuvee.predict.kept_folds import FoldMean
from cuvee.predict.member import Member
from cuvee.predict.trained import Task


class EnsembleEstimator(_BaseComposition):  # type: ignore[misc]
    """The part that does not know whether it predicts classes or values."""

    _task: ClassVar[Task]
    # the only word that `fit` takes besides rows and answers, for the routing of metadata
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"sample_weight": None}

    def __init__(
        self,
        estimators: Any = None,
        *,
        family: str = "mixed",
        combiner: Any = "greedy",
        cv: Any = 5,
        keep: Any = "refit",
        fewest: int = 0,
        random_state: Any = None,
    ) -> None:
        self.estimators = estimators
        self.family = family
        self.combiner = combiner
        self.cv = cv
        self.keep = keep
        self.fewest = fewest
        self.random_state = random_state

    @classmethod
    def of(cls, preset: str, **settings: Any) -> Any:
        """An ensemble by the way it is trained: `bagged`, `boosted`, `voted`, `stacked` or `blended`.

        Args:
            preset: which.
            settings: other parameters of the class.

        Raises:
            ValueError: there is no such way.
        """
        if preset not in PRESETS:
            raise ValueError(f"a preset must be one of {', '.join(PRESETS)}; found {preset!r}")
        family, combiner = PRESETS[preset]
        return cls(**{"family": family, "combiner": combiner, **settings})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, those of the named estimators among them as `name__parameter`."""
        return dict(self._get_params("estimators", deep=deep))

    def set_params(self, **params: Any) -> Any:
        """Set parameters; a named estimator is replaced by its name, or left out by `"drop"`."""
        self._set_params("estimators", **params)
        return self

    @property
    def named_estimators_(self) -> dict[str, Any]:
        """The fitted members by name."""
        check_is_fitted(self)
        return dict(zip(self.names_, self.estimators_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        with _as_value_errors():
            inner = [get_tags(est).input_tags for _, est in self._chosen()] if self._can_choose() else []
        tags.input_tags.allow_nan = bool(inner) and all(one.allow_nan for one in inner)
        tags.input_tags.sparse = bool(inner) and all(one.sparse for one in inner)
        return tags

    def _can_choose(self) -> bool:
        """Whether there is a list to look at: tags are asked of wrong ones too, and must not raise."""
        try:
            return all(len(one) == 2 and hasattr(one[1], "fit") for one in self._chosen())
        except (TypeError, ValueError, CuveeError):
            return False

    def _chosen(self) -> list[tuple[str, Any]]:
        found = family_of(self.family, self._task) if self.estimators is None else self.estimators
        return [(name, est) for name, est in found if not isinstance(est, str) or est != "drop"]

    def _members(self, random: Any) -> list[tuple[str, Any]]:
        """Fresh estimators with seeds of their own where they have none, checked.

        Raises:
            ValueError: there are none, names do not fit, or one is of another task or gives no probabilities.
        """
        chosen = self._chosen()
        if not chosen:
            raise ValueError("an ensemble needs estimators, a list of (name, estimator); found none")
        self._validate_names([name for name, _ in chosen])
        self._check_estimators_are_instances([est for _, est in chosen])
        wrong = [f"{name!r} {why}" for name, est in chosen if (why := self._unfit(est))]
        if wrong:
            raise ValueError(f"members of a {self._task} ensemble must be fit for it: {'; '.join(wrong)}")
        return [(name, seeded(clone(est), random)) for name, est in chosen]

    @abstractmethod
    def _unfit(self, estimator: Any) -> str:
        """Why an estimator cannot be a member, in words; nothing for one that can."""

    @abstractmethod
    def _asker(self, model: Any) -> Callable[[Any], Array]:
        """What is asked of a fitted model: rows → `[n, K]`."""

    def _fit_members(self, X: Any, y: Array, weights: Array | None, classes: Sequence[Any]) -> None:
        """Train everything on checked rows; y are numbers of classes, or values."""
        with _as_value_errors():
            random = check_random_state(self.random_state)
            named = self._members(random)
            combiner = combiner_of(self.combiner, self.fewest)
            if self.keep not in ("refit", "folds"):
                raise ValueError(f"`keep` must be refit or folds; found {self.keep!r}")
            members = [self._row_member(name, est, X, weights) for name, est in named]
            if combiner.learns or self.keep == "folds":
                bank, kept = self._crossed(members, y, int(random.randint(2**31 - 1)))
            else:
                bank, kept = self._empty(members, classes), [one.refit(np.arange(len(y)), y) for one in members]  # type: ignore[misc]
            bank = replace(bank, classes=tuple(classes), features=_features(X, bank))
            self.combiner_ = combiner.fit(bank.covered())
        self.bank_ = bank
        self.names_ = [name for name, _ in named]
        self.estimators_ = [_models(one.thing) for one in kept]
        self.notes_ = list(bank.notes)

    def _crossed(self, members: list[Member], y: Array, seed: int) -> tuple[Bank, Sequence[Member]]:
        rows = np.arange(len(y))[:, None]
        found = cross_fit(
            members,
            rows,
            y,
            cv=self._folds(y),
            seed=seed,
            keep=self.keep,
            fewest=self.fewest,
        )
        return found.bank, found.members

    def _folds(self, y: Array) -> Any:
        """The folds that are asked for; fewer of a number, where there are fewer rows."""
        return min(self.cv, len(y)) if isinstance(self.cv, int) and not isinstance(self.cv, bool) else self.cv

    def _row_member(self, name: str, estimator: Any, X: Any, weights: Array | None) -> Member:
        """An estimator as a member whose rows are numbers of rows of X: so frames and weights stay what they are."""

        def refit(rows: Array, labels: Array) -> Member:
            at = np.asarray(rows).ravel()
            fitted = _fitted(clone(estimator), _safe_indexing(X, at), labels, None if weights is None else weights[at])
            asker = self._asker(fitted)
            return replace(
                made,
                ask=lambda asked: asker(_safe_indexing(X, np.asarray(asked).ravel())),
                classes=tuple(fitted.classes_.tolist()) if self._task == "classification" else (),
                thing=fitted,
            )

        output = "values" if self._task == "regression" else "probabilities"
        made = Member(name=name, kind="sklearn", ask=lambda _: None, output=output, refit=refit)  # type: ignore[arg-type]
        return made

    def _empty(self, members: Sequence[Member], classes: Sequence[Any]) -> Bank:
        """A bank of no rows, for combiners that look at none."""
        M, K = len(members), len(classes) if self._task == "classification" else 1
        names = tuple(member.name for member in members)
        whole = ("out-of-fold",) * M
        return Bank(self._task, names, tuple(classes), np.zeros((M, 0, K)), np.zeros((M, 0), bool), (), None, whole)  # type: ignore[arg-type]

    def _combined(self, X: Any) -> Array:
        """What the ensemble says of new rows, `[n, K]`."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        P = np.stack([self._said(models, rows) for models in self.estimators_])
        with _as_value_errors():
            batch = Batch(P, np.ones(P.shape[:2], bool), _numbers(rows))
            return self.combiner_.apply(batch)

    def _said(self, models: Any, rows: Any) -> Array:
        """What one member says: one model, or the mean of those of the folds."""
        several = models if isinstance(models, list) else [models]
        whole: Array = np.mean([self._aligned(model, rows) for model in several], axis=0)
        return whole

    @abstractmethod
    def _aligned(self, model: Any, rows: Any) -> Array:
        """What a fitted model says, `[n, K]`, columns in the order of the ensemble."""

    def _rows(self, X: Any, *, reset: bool) -> Any:
        """Rows as members take them: frames and texts as they are, all else a checked matrix."""
        if hasattr(X, "iloc") and hasattr(X, "columns"):
            validate_data(self, X, skip_check_array=True, reset=reset)
            return X
        if isinstance(X, (list, tuple)) and X and all(isinstance(one, str) for one in X):
            return list(X)
        tags = get_tags(self).input_tags
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr" if tags.sparse else False,
            ensure_all_finite=not tags.allow_nan,
            ensure_min_samples=2 if reset else 1,
        )

    def _weighed(self, X: Any, y: Array, params: dict[str, Any]) -> tuple[Any, Array, Array | None]:
        """Rows, answers and weights; rows of weight 0 are none: members that know no weights would learn from them.

        Raises:
            TypeError: `fit` was given another word than `sample_weight`.
            ValueError: no row has a weight.
        """
        if more := set(params) - {"sample_weight"}:
            raise TypeError(f"fit() takes `sample_weight` besides rows and answers; found {', '.join(sorted(more))}")
        given = params.get("sample_weight")
        if given is None:
            return X, y, None
        weights = _check_sample_weight(given, X, ensure_non_negative=True)
        if not len(there := np.flatnonzero(weights)):
            raise ValueError("`sample_weight` must be above 0 for some rows; all weights are zero")
        return (X, y, weights) if len(there) == len(y) else (_safe_indexing(X, there), y[there], weights[there])


def combiner_of(given: Any, fewest: int) -> Combiner:
    """A combiner as it was given, or the usual one of a name, which takes as few rows as the estimator does."""
    if isinstance(given, Combiner):
        return given
    kind = COMBINERS.get(given)
    asks = any(one.name == "fewest" for one in fields(kind))
    made: Combiner = kind(fewest=max(2, fewest)) if asks else kind()  # type: ignore[call-arg]
    return made


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Errors of Cuvee as those that scikit-learn's users and tools expect; what a member raised is raised as it was."""
    try:
        yield
    except CuveeError as error:
        cause = error.__cause__
        raise cause if isinstance(cause, (ValueError, TypeError)) else ValueError(str(error)) from error


def seeded(estimator: Any, random: Any) -> Any:
    """Seeds where an estimator, or a part of it, has none."""
    named = estimator.get_params(deep=True)
    lacking = [key for key in sorted(named) if key.split("__")[-1] == "random_state" and named[key] is None]
    return estimator.set_params(**{key: int(random.randint(2**31 - 1)) for key in lacking})


def _fitted(estimator: Any, X: Any, y: Array, weights: Array | None) -> Any:
    """The estimator trained; weights are for those that take them, in a pipeline for its last step."""
    if weights is None:
        return estimator.fit(X, y)
    steps = getattr(estimator, "steps", None)
    last, start = (steps[-1][1], f"{steps[-1][0]}__") if steps else (estimator, "")
    return estimator.fit(
        X, y, **({f"{start}sample_weight": weights} if has_fit_parameter(last, "sample_weight") else {})
    )


def _models(thing: Any) -> Any:
    """A fitted model, or the list of those of the folds."""
    return [member.thing for member in thing.members] if isinstance(thing, FoldMean) else thing


def _numbers(X: Any) -> Array | None:
    """The rows' own numbers, for combiners that look at them."""
    return X.astype(np.float64) if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiub" else None


def _features(X: Any, bank: Bank) -> Array | None:
    return _numbers(X) if len(bank) else None
