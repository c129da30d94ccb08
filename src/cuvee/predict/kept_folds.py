"""The models of the folds as one member: it says what they say on average, so it is what its bank was made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.predict.answers import ask
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.trained import Label, Output, Task


@dataclass(frozen=True, eq=False)
class FoldMean:
    """The mean of what the models of the folds say.

    Attributes:
        members: one model for each fold; each is asked about what it reads.
        classes: of the ensemble, in order; none for a regression.
        task: of the ensemble.
    """

    members: tuple[Member, ...]
    classes: tuple[Label, ...]
    task: Task

    def __call__(self, read: Any) -> Array:
        """What the member reads of n rows → `[n, K]`."""
        # a list stays one: texts, and not the columns that `rows_of` makes of mappings
        rows = Rows(read, "items", tuple(map(str, range(len(read))))) if isinstance(read, list) else rows_of(read)
        found = np.stack([ask(replace(member, reads=None), rows, self.classes, self.task).P for member in self.members])
        known = np.isfinite(found)
        if known.all():
            return np.asarray(found.mean(axis=0))
        # of a class that some folds had no row of, the models of the others speak
        mean = np.where(known, found, 0.0).sum(axis=0) / known.sum(axis=0)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def member_of_folds(
    member: Member, folds: Sequence[Member], classes: Sequence[Label], task: Task, *, probable: bool
) -> Member:
    """The models that cross-fitting trained of a member, as one of the same name."""
    output: Output = "values" if task == "regression" else "probabilities" if probable else "scores"
    left = member.missing == "mask"
    known = tuple(c for c in classes if not left or any(c in fold.known for fold in folds))
    mean = FoldMean(tuple(folds), known, task)
    return Member(
        name=member.name,
        kind="folds",
        ask=mean,
        output=output,
        classes=known,
        missing="mask" if left and len(known) < len(classes) else "error",
        reads=member.reads,
        thing=mean,
        settings={"of": member.kind, "folds": len(folds)},
        refit=member.refit,
        notes=(*member.notes, f"the mean of {len(folds)} models, one for each fold"),
    )
