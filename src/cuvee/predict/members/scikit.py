"""Members with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cuvee.predict.rows import Reads
from cuvee.predict.trained import Label, Missing, Output, Trained


def trained_of(
    model: Any,
    *,
    name: str | None,
    classes: Sequence[Label] | None,
    output: Output | None,
    reads: Reads,
    label_map: Mapping[Label, Label],
    missing: Missing,
) -> Trained:
    """A fitted estimator as a member; see `Member.sklearn`."""
    is_classifier = hasattr(model, "predict_proba")
    found = tuple(model.classes_.tolist()) if is_classifier and classes is None else tuple(classes or ())
    return Trained(
        name=name or type(model).__name__.lower(),
        kind="sklearn",
        ask=model.predict_proba if is_classifier else model.predict,
        output=output or ("probabilities" if is_classifier else "values"),
        classes=found,
        label_map=label_map,
        missing=missing,
        reads=reads,
        thing=model,
    )
