"""Meta-learners of stacks: what is learned from what members say. The adapter of scikit-learn for it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from cuvee.combine.parts import Array
from cuvee.errors import Fault, InputError, UsageError, listed, nearest
from cuvee.predict.learned_rules import Rule, Thing, done

CLASSIFIERS: Final = ("logistic", "nonnegative", "gradient-boosting")
REGRESSORS: Final = ("ridge", "nonnegative", "gradient-boosting")

STRENGTHS: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths C of the penalty that a logistic regression is tried with."""

ALPHAS: Final = tuple(10.0**k for k in range(-3, 4))
"""Strengths of the penalty that a ridge regression is tried with."""

_STEPS: Final = 1000
"""Most steps of the optimiser of a logistic regression."""


def learn(meta: Any, X: Array, y: Array, classes: int, *, folds: int = 5, seed: int = 0) -> Rule | Thing:
    """Train a meta-learner.

    Args:
        meta: `logistic`, `ridge`, `gradient-boosting`, or an estimator, which is copied before it is trained.
        X: `[N, D]`.
        y: `[N]`: numbers of classes, or values.
        classes: how many classes there are; 0 for a regression.
        folds: of the choice of a penalty.
        seed: of folds and of gradient boosting.

    Raises:
        InputError: `member-failed`: the estimator raised.
    """
    if meta == "logistic":
        return logistic(X, y, classes, folds=folds, seed=seed)
    if meta == "ridge":
        return ridge(X, y)
    fresh = boosting(classes, seed) if isinstance(meta, str) else copied(meta)
    with _quiet():
        done(lambda: fresh.fit(X, y), fresh, f"could not be fitted on {len(X):,} rows")
    return Thing(fresh, classes)


def logistic(X: Array, y: Array, classes: int, *, folds: int, seed: int) -> Rule:
    """Multinomial logistic regression, its penalty chosen by the log loss of cross-validation.

        min_W,b  −Σ_n ln softmax(W x_n + b)_(y_n) + ‖W‖² / 2C

    Two classes are one row w of W in scikit-learn; here they are two, 0 and w, which softmax makes the same. Of rows
    that are too few for cross-validation C = 1.
    """
    splits = [one for one in folds_of(y, folds, seed, classes) if len(np.unique(y[one[0]])) > 1]
    losses = np.zeros(len(STRENGTHS))
    for learned, asked in splits:
        rules = _path(X[learned], y[learned], classes)
        losses += [_surprise(rule.answer(X[asked]), y[asked]) for rule in rules]
    C = STRENGTHS[int(np.argmin(np.round(losses / len(y), 6)))] if splits else 1.0
    return _fit_logistic(_logistic_regression().set_params(C=C), X, y, classes)


def _path(X: Array, y: Array, classes: int) -> Iterator[Rule]:
    """A rule for every strength, each found from where the one before came to: the same minimum in fewer steps."""
    model = _logistic_regression().set_params(warm_start=True)
    for C in STRENGTHS:
        yield _fit_logistic(model.set_params(C=C), X, y, classes)


def _logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=_STEPS)


def _fit_logistic(model: Any, X: Array, y: Array, classes: int) -> Rule:
    with _quiet():
        model.fit(X, y)
    numbers = model.classes_
    coef, intercept = np.zeros((classes, X.shape[1])), np.full(classes, -np.inf)
    intercept[numbers] = 0.0
    rows = numbers[1:] if len(numbers) == 2 else numbers
    coef[rows], intercept[rows] = model.coef_, model.intercept_
    return Rule(coef, intercept, "softmax", {"C": model.C, "converged": bool(model.n_iter_.max() < _STEPS)})


def ridge(X: Array, y: Array) -> Rule:
    """Ridge regression, its penalty chosen by leave-one-out: `min_w,b Σ_n (w x_n + b − y_n)² + α ‖w‖²`."""
    from sklearn.linear_model import RidgeCV

    with np.errstate(divide="ignore", invalid="ignore"):  # of one row or two nothing is left when one is left out
        model = RidgeCV(alphas=ALPHAS).fit(X, y)
    return Rule(model.coef_[None, :], np.array([model.intercept_]), "identity", {"alpha": float(model.alpha_)})


def nonnegative(P: Array, target: Array) -> Array:
    """One weight for each member, ≥ 0, sum one: `w ∝ argmin_(w ≥ 0) ‖Σ_m w_m P_m − T‖²`, `[M]`.

    Args:
        P: `[M, N, K]`.
        target: T, `[N, K]`: 1 for the right class, else 0; or values.

    Raises:
        InputError: `bad-weights`: the best weights are all zero.

    Source: Breiman 1996, Stacked Regressions; van der Laan, Polley, Hubbard 2007 for the sum of one.
    """
    from sklearn.linear_model import LinearRegression

    found = LinearRegression(positive=True, fit_intercept=False).fit(P.reshape(len(P), -1).T, target.ravel()).coef_
    if not found.sum() > 0:
        message = "the non-negative weights that fit best are all zero: every member points away from the truth"
        raise InputError(Fault("bad-weights", message))
    share: Array = found / found.sum()
    return share


def boosting(classes: int, seed: int) -> Any:
    """Gradient-boosted trees by histograms."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed)


def folds_of(y: Array, folds: int, seed: int, classes: int) -> Iterator[tuple[Array, Array]]:
    """Rows to learn from and rows to ask about, with every class in each as far as there are rows; shuffled.

    None where no class has two rows.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    counts = np.bincount(y)[np.unique(y)] if classes else np.array([len(y)])
    if counts.max() < 2:
        return
    split = (StratifiedKFold if classes else KFold)(max(2, min(folds, counts.min())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield from list(split.split(np.zeros((len(y), 1)), y))


def check_meta(meta: Any, classes: int) -> None:
    """Refuse a meta-learner that does not do what the ensemble does.

    Raises:
        UsageError: no such name, or an estimator without `fit`, `predict` or `predict_proba`; `missing-extra`:
            scikit-learn is not installed.
    """
    _require()
    known, task = (CLASSIFIERS, "classification") if classes else (REGRESSORS, "regression")
    if isinstance(meta, str):
        if meta not in known:
            message = f"there is no meta-learner {meta!r} for a {task}"
            raise UsageError(Fault("bad-argument", message, None, "meta", nearest(meta, known)))
        return
    if isinstance(meta, type):
        message = f"a meta-learner must be an object; {meta.__qualname__} is a class"
        raise UsageError(Fault("bad-argument", message, None, "meta", f"give `{meta.__qualname__}()`"))
    from sklearn.base import is_classifier

    if not classes and is_classifier(meta):
        message = f"the meta-learner of a regression must give values; {type(meta).__qualname__} is a classifier"
        raise UsageError(Fault("bad-argument", message, subject="meta"))
    wanted = ("fit", "predict_proba") if classes else ("fit", "predict")
    if lacking := [f"`{name}`" for name in wanted if not hasattr(meta, name)]:
        message = f"the meta-learner of a {task} must have {listed(f'`{w}`' for w in wanted)}; "
        message += f"{type(meta).__qualname__} has no {listed(lacking)}"
        raise UsageError(Fault("bad-argument", message, subject="meta"))


def _require() -> None:
    try:
        import sklearn  # noqa: F401 - whether it is there
    except ImportError as error:
        message = "meta-learners of stacks are scikit-learn's, which is not installed"
        hint = "pip install cuvee[ensemble]"
        raise UsageError(Fault("missing-extra", message, subject="scikit-learn", hint=hint)) from error


def copied(meta: Any) -> Any:
    """An estimator like it, untrained, so that what was given is not changed."""
    from sklearn.base import clone

    return clone(meta) if hasattr(meta, "get_params") else copy.deepcopy(meta)


def _surprise(P: Array, y: Array) -> float:
    """`−Σ_n ln p_n(y_n)`."""
    right = P[np.arange(len(y)), y]
    return float(-np.log(np.maximum(right, 1e-15)).sum())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of an optimiser that stopped early: `facts` say it."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
