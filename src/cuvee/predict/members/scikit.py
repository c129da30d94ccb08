"""Members with scikit-learn's interface: its estimators and pipelines, LightGBM's, XGBoost's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.labels import Label, named, shown
from cuvee.predict.members.refitting import refitter
from cuvee.predict.members.tables import as_table
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Missing, Output, Trained

_METHODS: Final[Mapping[Output, str]] = {
    "probabilities": "predict_proba",
    "logits": "decision_function",
    "scores": "decision_function",
    "labels": "predict",
    "values": "predict",
    "embeddings": "transform",
}
"""Which method gives what; a classifier without the first is asked for the next that it has."""


def trained_of(
    model: Any,
    *,
    name: str | None = None,
    classes: Sequence[Label] | None = None,
    output: Output | None = None,
    reads: Reads = None,
    label_map: Mapping[Label, Label] | None = None,
    missing: Missing = "error",
    inverse: Callable[[Any], Any] | None = None,
    embed: bool = False,
) -> Trained:
    """A fitted estimator as a member; see `Member.sklearn`."""
    called = name or (model if isinstance(model, type) else type(model)).__name__.lower()
    is_classifier = _checked_kind(model, called, output)
    gives = output or _usual(model, is_classifier)
    _check_method(model, gives, called)
    own = _own_classes(model, called) if is_classifier and gives != "embeddings" else ()
    labels = own if classes is None else tuple(named(label) for label in classes)
    if own:
        labels = _renamed(own, labels, called)
    member = Trained(
        name=called,
        kind="sklearn",
        ask=partial(_asked, model, _METHODS[gives], labels if gives == "labels" and labels != own else None, own),
        output=gives,
        classes=labels,
        label_map=label_map or {},
        missing=missing,
        reads=reads,
        inverse=inverse,
        thing=model,
        settings={"encoded": labels != own},
        embed=_embedder(model, called) if embed else None,
    )
    again = partial(trained_of, output=output, reads=reads, missing=missing, embed=embed)
    return replace(member, refit=refitter(member, again, _cloned))


def _checked_kind(model: Any, name: str, output: Output | None) -> bool:
    """Whether it is a classifier.

    Raises:
        InputError: `wrong-member`: it is not fitted, is neither classifier nor regressor, or has several outputs.
    """
    from sklearn.base import is_classifier, is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(model, type):
        raise _refused(name, f"a fitted estimator is wanted; found the class {model.__name__} itself")
    if not (hasattr(model, "fit") and (hasattr(model, "predict") or output == "embeddings")):
        hint = "`Member.callable` takes any function of rows"
        raise _refused(name, f"an estimator has `fit` and `predict`; {type(model).__name__} has not", hint)
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise _refused(name, f"{type(model).__name__} is not fitted", "fit it before it is made a member") from None
    if output == "embeddings":
        return False
    if not (is_classifier(model) or is_regressor(model)):
        what = f"{type(model).__name__} is neither a classifier nor a regressor"
        raise _refused(name, what, "what it gives can be had through `Member.callable`")
    _check_single(model, name)
    return bool(is_classifier(model))


def _check_single(model: Any, name: str) -> None:
    """Refuse what gives a row several labels or values."""
    last = _last(model)
    several = getattr(last, "multilabel_", False) is True or isinstance(getattr(last, "classes_", None), list)
    binariser = getattr(last, "_label_binarizer", None)
    several = several or str(getattr(binariser, "y_type_", "")).startswith("multilabel")
    if several:
        raise _refused(name, f"{type(last).__name__} gives a row several labels (multilabel)", "make a member of each")
    coefficients: Any = getattr(last, "coef_", None)
    rows = coefficients.shape[0] if getattr(coefficients, "ndim", 1) == 2 else 1
    count = max(int(getattr(last, "n_outputs_", 1) or 1), rows)
    is_several = type(last).__module__ == "sklearn.multioutput" or count > 1
    if is_several and not hasattr(last, "classes_"):
        message = f"{type(last).__name__} gives a row several values (multi-output)"
        raise _refused(name, message, "make a member of each")


def _last(model: Any) -> Any:
    """The estimator that answers: the last step of a pipeline, the best of a search."""
    while True:
        inner = model.steps[-1][1] if hasattr(model, "steps") else getattr(model, "best_estimator_", None)
        if inner is None or isinstance(inner, str):
            return model
        model = inner


def _usual(model: Any, is_classifier: bool) -> Output:
    if not is_classifier:
        return "values"
    order: tuple[Output, ...] = ("probabilities", "scores", "labels")
    return next(one for one in order if hasattr(model, _METHODS[one]))


def _check_method(model: Any, gives: Output, name: str) -> None:
    if (method := _METHODS.get(gives)) is not None and not hasattr(model, method):
        other = "labels" if hasattr(model, "predict") and not hasattr(model, "classes_") else "values"
        has = [one for one, way in _METHODS.items() if hasattr(model, way) and one != other]
        message = f"{type(model).__name__} has no `{method}`, which would give {gives}"
        raise UsageError(Fault("bad-argument", message, None, name, f"it can give {', '.join(has)}"))


def _own_classes(model: Any, name: str) -> tuple[Label, ...]:
    try:
        return tuple(named(label) for label in model.classes_)
    except AttributeError:
        message = f"{type(model).__name__} does not say its classes (`classes_`)"
        raise _refused(name, message, "`Member.callable` takes any function of rows, and `classes`") from None


def _renamed(own: Sequence[Label], given: Sequence[Label], name: str) -> tuple[Label, ...]:
    """The names of the columns of a model that was trained on numbers of classes, as XGBoost is.

    Raises:
        UsageError: it has names of its own, which `classes` would put out of order or hide.
    """
    if list(own) == list(given):
        return tuple(own)
    wrong = ""
    if len(given) != len(own):
        wrong = f"{len(own)} of them, {shown(own)}; `classes` names {len(given)}"
    elif set(own) == set(given):
        wrong = f"in the order {shown(own)}; `classes` has them in another"
    elif list(own) != list(range(len(own))):
        wrong = f"called {shown(own)}; `classes` is for models that only number theirs"
    if wrong:
        hint = "leave `classes` out: it knows its own; `label_map` says what they are called in the ensemble"
        raise UsageError(Fault("bad-argument", f"the classes of {name!r} are {wrong}", None, name, hint))
    return tuple(given)


def _asked(model: Any, method: str, names: Sequence[Label] | None, own: Sequence[Label], X: Any) -> Any:
    """What a method says; numbers of classes as names where the model knows only numbers."""
    found = getattr(model, method)(as_table(X, model))
    if names is None:
        return found
    called = dict(zip(own, names))
    return np.array([called[label] for label in np.asarray(found).tolist()], dtype=object)


def _cloned(model: Any) -> Any:
    from sklearn.base import clone

    return clone(model)


def _embedder(model: Any, name: str) -> Callable[[Any], Any]:
    """What the steps before the last make of rows; of what is no pipeline, its `transform`."""
    before = model[:-1] if hasattr(model, "steps") and len(model.steps) > 1 else model
    if not hasattr(before, "transform"):
        message = f"{type(model).__name__} has no `transform`, and no steps before the last, to give embeddings"
        raise UsageError(Fault("bad-argument", message, subject=name, hint="leave `embed` out"))
    return lambda X: before.transform(as_table(X, model))


def _refused(name: str, message: str, hint: str | None = None) -> InputError:
    return InputError(Fault("wrong-member", f"the member {name!r}: {message}", subject=name, hint=hint))
