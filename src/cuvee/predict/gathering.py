"""A bank made by asking members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, nearest
from cuvee.predict.answers import ask
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task


def gather(
    members: Sequence[Member],
    rows: Rows,
    classes: Sequence[Label],
    task: Task,
    *,
    truth: Any = None,
    provenance: Provenance = "hold-out",
    features: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Ask every member about every row.

    Args:
        members: whom to ask.
        rows: what to ask.
        classes: of the ensemble; none for a regression.
        task: of the ensemble.
        truth: the right label, or value, of each row.
        provenance: how the members know the rows.
        features: `[N, D]`, numbers of the rows themselves.
        progress: told how many of the members were asked, and how many there are.

    Raises:
        InputError: as `answers.ask`; `rows-differ` or `bad-data`: the truth does not fit.
    """
    found = []
    for number, member in enumerate(members):
        found.append(ask(member, rows, classes, task))
        if progress:
            progress(number + 1, len(members))
    width = len(classes) if task == "classification" else 1
    empty = np.zeros((0, len(rows), width))
    return Bank(
        task=task,
        members=tuple(member.name for member in members),
        classes=tuple(classes),
        P=np.stack([one.P for one in found]) if found else empty,
        mask=np.stack([one.mask for one in found]) if found else np.zeros((0, len(rows)), bool),
        ids=rows.ids,
        truth=None if truth is None else truth_of(truth, classes, task, len(rows)),
        provenance=(provenance,) * len(members),
        probable=tuple(one.probable for one in found),
        embeddings={m.name: one.embeddings for m, one in zip(members, found) if one.embeddings is not None},
        features=features,
    )


def truth_of(y: Any, classes: Sequence[Label], task: Task, n: int) -> Array:
    """The right answers as a bank keeps them: numbers of classes (int64), or values (float64), `[n]`.

    Raises:
        InputError: `rows-differ`: not one for each row; `bad-data`: a label that is no class, or a value that is not
            finite.
    """
    given = np.asarray(y)
    if given.shape != (n,):
        message = f"there must be a right answer for each of {n:,} rows; found the shape {list(given.shape)}"
        raise InputError(Fault("rows-differ", message, subject="y"))
    if task == "regression":
        values = given.astype(np.float64)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(Fault("bad-data", f"right answers must be finite; row {row}: {values[row]}", subject="y"))
        return values
    numbers = {label: number for number, label in enumerate(classes)}
    if foreign := [label for label in dict.fromkeys(given.tolist()) if label not in numbers]:
        known = [str(label) for label in classes]
        raise InputError(
            [
                Fault(
                    "bad-data", f"a right answer is {label!r}, which is no class", None, "y", nearest(str(label), known)
                )
                for label in foreign[:20]
            ]
        )
    return np.array([numbers[label] for label in given.tolist()], dtype=np.int64)
