"""A member of an ensemble, and the ways to make one, each through the adapter of its library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from cuvee.predict.rows import Reads
from cuvee.predict.trained import NOTHING, Label, Missing, Output, Trained


@dataclass(frozen=True, eq=False)
class Member(Trained):
    """One member of an ensemble; made by `Member.sklearn`, `Member.transformers` and their like."""

    @classmethod
    def of(cls, trained: Trained) -> Member:
        """What an adapter made, as a member."""
        return cls(**{field.name: getattr(trained, field.name) for field in fields(Trained)})

    @staticmethod
    def sklearn(
        model: Any,
        *,
        name: str | None = None,
        classes: Sequence[Label] | None = None,
        output: Output | None = None,
        reads: Reads = None,
        label_map: Mapping[Label, Label] = NOTHING,
        missing: Missing = "error",
    ) -> Member:
        """A fitted estimator with scikit-learn's interface: its own, pipelines, LightGBM, XGBoost.

        Args:
            model: the fitted estimator.
            name: its name; that of its class in lower case without one.
            classes: its labels in the order of its columns; `classes_` without them (XGBoost knows only 0 … K − 1).
            output: which of its methods is asked; without it `predict_proba`, then `decision_function`, then `predict`.
            reads: the columns it reads.
            label_map: its label → the ensemble's.
            missing: what is done about classes that it does not know.

        Raises:
            UsageError: an argument is wrong.
            InputError: it is not fitted, has several outputs, or its classes do not fit.
        """
        from cuvee.predict.members.scikit import trained_of

        given = {"classes": classes, "output": output, "reads": reads, "label_map": label_map, "missing": missing}
        return Member.of(trained_of(model, name=name, **given))  # type: ignore[arg-type]
