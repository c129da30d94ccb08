"""Members that are plain functions, and other ensembles."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.labels import Label
from cuvee.predict.probing import is_training
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Missing, Output, Trained


def trained_of(
    function: Callable[[Any], Any],
    *,
    name: str | None = None,
    classes: Sequence[Label] = (),
    output: Output | None = None,
    reads: Reads = None,
    label_map: Mapping[Label, Label] | None = None,
    missing: Missing = "error",
    inverse: Callable[[Any], Any] | None = None,
    refit: Callable[[Any, Any], Callable[[Any], Any]] | None = None,
    embed: Callable[[Any], Any] | None = None,
    whole: bool = False,
) -> Trained:
    """A function as a member; see `Member.callable`."""
    called = name or str(getattr(function, "__name__", type(function).__name__.lower()))
    if not callable(function):
        message = f"a member that is a function can be called; found {type(function).__name__}"
        raise UsageError(Fault("bad-argument", message, subject=called))
    if is_training(function):
        message = f"the member {called!r} is in training mode, so that dropout is on and its answers are random"
        raise InputError(Fault("bad-output", message, subject=called, hint="call `.eval()` before"))
    given = {"output": output, "reads": reads, "missing": missing, "inverse": inverse, "embed": embed, "whole": whole}
    place = import_place(function)
    return Trained(
        name=called,
        kind="callable",
        ask=function,
        output=output or ("probabilities" if classes else "values"),
        classes=tuple(classes),
        label_map=label_map or {},
        missing=missing,
        reads=reads,
        inverse=inverse,
        thing=function,
        settings={} if place is None else {"import": place},
        refit=None if refit is None else partial(_refitted, refit, called, tuple(classes), given),
        embed=embed,
        whole=whole,
    )


def _refitted(
    refit: Callable[[Any, Any], Callable[[Any], Any]],
    name: str,
    classes: Sequence[Label],
    given: Mapping[str, Any],
    X: Any,
    y: Any,
) -> Trained:
    """The function that training gives, as a member; its classes are those of the first."""
    return trained_of(refit(X, y), name=name, classes=classes, refit=refit, **given)


def import_place(function: Any) -> str | None:
    """Where a function can be imported from, `module:name`; `None` for one that is made on the spot."""
    module, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or module == "__main__" or "<" in qualified or not qualified:
        return None
    try:
        found: Any = importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return f"{module}:{qualified}" if found is function else None


def nested(
    other: Any,
    *,
    name: str | None = None,
    reads: Reads = None,
    label_map: Mapping[Label, Label] | None = None,
    missing: Missing = "error",
    inverse: Callable[[Any], Any] | None = None,
) -> Trained:
    """Another ensemble as a member; see `Member.ensemble`."""
    called = name or "ensemble"
    parts = ("task", "classes", "predict", "predict_proba")
    if lacking := [part for part in parts if not hasattr(other, part)]:
        kind = type(other).__name__
        message = f"an ensemble has {', '.join(parts)}; {kind} has no {lacking[0]}"
        raise InputError(Fault("wrong-member", message, subject=called))
    is_regression = other.task == "regression"
    return Trained(
        name=called,
        kind="ensemble",
        ask=other.predict if is_regression else other.predict_proba,
        output="values" if is_regression else "probabilities",
        classes=() if is_regression else tuple(other.classes),
        label_map=label_map or {},
        missing=missing,
        reads=reads,
        inverse=inverse,
        thing=other,
    )
