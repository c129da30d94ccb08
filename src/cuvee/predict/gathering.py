"""A bank made by asking members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.predict.answers import ask
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task
from cuvee.predict.truths import truth_of

__all__ = ["gather", "truth_of"]


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
