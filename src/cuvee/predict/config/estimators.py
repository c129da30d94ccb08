"""Estimators that a configuration may name; nothing else of a library can be reached from a file.

Numbers are filled in where they are lacking (the median) and scaled where the estimator asks for that, inside the
pipeline, so that both are learned anew in each fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cuvee.recipe.findings import described


@dataclass(frozen=True)
class Bounds:
    """What a setting may be: of some types, in some range, or one of some words."""

    types: tuple[type, ...]
    least: float | None = None
    words: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Declared:
    """An estimator that can be named.

    Attributes:
        tasks: what it is for.
        make: task, settings, seed → an estimator that is not fitted.
        settings: names → what they may be.
        reads: `numbers`, or one column of `text`.
    """

    tasks: tuple[str, ...]
    make: Callable[[str, Mapping[str, Any], int], Any]
    settings: Mapping[str, Bounds]
    reads: str = "numbers"


_BOTH: Final = ("classification", "regression")
_CLASSES: Final = ("classification",)
_COUNT: Final = Bounds((int,), 1)
_RATE: Final = Bounds((int, float), 1e-12)
_FREE: Final = Bounds((int, float), 0)


def setting_fault(declared: Declared, key: str, value: Any) -> str | None:
    """What is wrong with the value of a setting, to complete "`key` …"; `None` for a good one."""
    bounds = declared.settings[key]
    if value in bounds.words and type(value) in {type(word) for word in bounds.words}:
        return None
    if isinstance(value, list):
        good = list in bounds.types and value and all(type(one) is int and one >= 1 for one in value)
        return None if good else f"should be {_wanted(bounds)}, found {described(value)}"
    good = type(value) in bounds.types and (bounds.least is None or value >= bounds.least)
    return None if good else f"should be {_wanted(bounds)}, found {described(value)}"


def _wanted(bounds: Bounds) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text", list: "a list of integers"}
    types = [one for one in bounds.types if not (one is int and float in bounds.types)]
    told = [names[one] for one in types]
    if bounds.least is not None and bounds.types:
        told = [f"{told[0]} {_from(bounds.least)}", *told[1:]]
    return " or ".join([*told, *(f"`{str(word).lower() if word is None else word}`" for word in bounds.words)])


def _from(least: float) -> str:
    return "above 0" if 0 < least < 1e-6 else f"of at least {least:g}"


def made(name: str, task: str, settings: Mapping[str, Any], seed: int) -> Any:
    """An estimator that is not fitted.

    Args:
        name: of `ESTIMATORS`.
        task: classification or regression.
        settings: checked by `setting_fault`.
        seed: of what it draws.

    Raises:
        UsageError: `missing-extra`: LightGBM is not installed.
    """
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return ESTIMATORS[name].make(task, given, seed)


def _numbers(estimator: Any, *, scaled: bool) -> Any:
    """An estimator behind what fills in and scales numbers."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [SimpleImputer(strategy="median", keep_empty_features=True), *([StandardScaler()] if scaled else [])]
    return make_pipeline(*steps, estimator)


def _linear(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if task == "regression":
        return _numbers(Ridge(random_state=seed, **given), scaled=True)
    return _numbers(LogisticRegression(**{"max_iter": 1000, "random_state": seed, **given}), scaled=True)


def _forest(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    return _numbers(kind(**{"n_estimators": 200, "random_state": seed, **given}), scaled=False)


def _boosted(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    return kind(random_state=seed, **given)  # takes numbers that are lacking as they are


def _neighbours(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    del seed
    kind = KNeighborsClassifier if task == "classification" else KNeighborsRegressor
    return _numbers(kind(**given), scaled=True)


def _svm(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC, SVR

    del seed
    if task == "regression":
        return _numbers(SVR(**given), scaled=True)
    return _numbers(CalibratedClassifierCV(SVC(**given), ensemble=False), scaled=True)


def _bayes(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.naive_bayes import GaussianNB

    del task, seed
    return _numbers(GaussianNB(**given), scaled=False)


def _perceptron(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPClassifier if task == "classification" else MLPRegressor
    usual = {"max_iter": 500, "early_stopping": True, "random_state": seed}
    return _numbers(kind(**{**usual, **given}), scaled=True)


def _words(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    ngrams = {"ngram_range": (1, int(given.get("ngrams", 2)))}
    own = {
        key: given[key] for key in ("min_df", "max_features", "analyzer", "sublinear_tf", "lowercase") if key in given
    }
    rest = {key: value for key, value in given.items() if key not in own and key != "ngrams"}
    if task == "regression":
        return make_pipeline(TfidfVectorizer(**ngrams, **own), Ridge(random_state=seed, **rest))
    last = LogisticRegression(**{"max_iter": 1000, "C": 10.0, "random_state": seed, **rest})
    return make_pipeline(TfidfVectorizer(**ngrams, **own), last)


def _lightgbm(task: str, given: Mapping[str, Any], seed: int) -> Any:
    from cuvee.predict.config.through_lightgbm import estimator

    return estimator(task, {"random_state": seed, **given})


_NONE_OR_COUNT: Final = Bounds((int,), 1, (None,))
_TREES: Final = {
    "max_depth": _NONE_OR_COUNT,
    "min_samples_leaf": _COUNT,
}
ESTIMATORS: Final[Mapping[str, Declared]] = {
    "logistic-regression": Declared(
        _CLASSES, _linear, {"C": _RATE, "max_iter": _COUNT, "class_weight": Bounds((), words=("balanced", None))}
    ),
    "ridge": Declared(("regression",), _linear, {"alpha": _FREE}),
    "random-forest": Declared(
        _BOTH,
        _forest,
        {
            "n_estimators": _COUNT,
            "max_features": Bounds((int, float), 1e-12, ("sqrt", "log2", None)),
            "n_jobs": Bounds((int,), None, (None,)),
            **_TREES,
        },
    ),
    "hist-gradient-boosting": Declared(
        _BOTH,
        _boosted,
        {
            "learning_rate": _RATE,
            "max_iter": _COUNT,
            "max_leaf_nodes": Bounds((int,), 2, (None,)),
            "l2_regularization": _FREE,
            "early_stopping": Bounds((bool,), None, ("auto",)),
            **_TREES,
        },
    ),
    "k-nearest-neighbours": Declared(
        _BOTH,
        _neighbours,
        {"n_neighbors": _COUNT, "weights": Bounds((), words=("uniform", "distance")), "p": Bounds((int, float), 1)},
    ),
    "svm": Declared(
        _BOTH,
        _svm,
        {
            "C": _RATE,
            "kernel": Bounds((), words=("linear", "poly", "rbf", "sigmoid")),
            "gamma": Bounds((int, float), 0, ("scale", "auto")),
            "degree": _COUNT,
        },
    ),
    "gaussian-nb": Declared(_CLASSES, _bayes, {"var_smoothing": _FREE}),
    "mlp": Declared(
        _BOTH,
        _perceptron,
        {
            "hidden_layer_sizes": Bounds((int, list), 1),
            "alpha": _FREE,
            "learning_rate_init": _RATE,
            "max_iter": _COUNT,
            "early_stopping": Bounds((bool,)),
        },
    ),
    "tfidf-logistic": Declared(
        _CLASSES,
        _words,
        {
            "C": _RATE,
            "ngrams": _COUNT,
            "min_df": Bounds((int, float), 0),
            "max_features": _NONE_OR_COUNT,
            "analyzer": Bounds((), words=("word", "char", "char_wb")),
            "sublinear_tf": Bounds((bool,)),
            "lowercase": Bounds((bool,)),
        },
        "text",
    ),
    "tfidf-ridge": Declared(
        ("regression",), _words, {"alpha": _FREE, "ngrams": _COUNT, "min_df": Bounds((int, float), 0)}, "text"
    ),
    "lightgbm": Declared(
        _BOTH,
        _lightgbm,
        {
            "n_estimators": _COUNT,
            "learning_rate": _RATE,
            "num_leaves": Bounds((int,), 2),
            "max_depth": Bounds((int,), -1),
            "min_child_samples": _COUNT,
            "subsample": _RATE,
            "reg_lambda": _FREE,
            "reg_alpha": _FREE,
            "n_jobs": Bounds((int,)),
        },
    ),
}
"""By the name that configurations use."""
