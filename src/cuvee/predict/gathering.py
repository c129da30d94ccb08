"""A bank made by asking members."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from cuvee.combine import Array
from cuvee.predict.answers import OnError, ask_all
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task, Trained
from cuvee.predict.truths import check_order, truth_of

__all__ = ["gather", "truth_of"]


def gather(
    members: Sequence[Trained],
    rows: Rows,
    classes: Sequence[Label],
    task: Task,
    *,
    truth: Any = None,
    provenance: Provenance = "hold-out",
    features: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_error: OnError = "raise",
    time_limit: float | None = None,
    embed: Collection[str] = (),
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
        on_error: what is done about a member that fails: `raise`, or `mask`, which goes on without it and notes it.
        time_limit: seconds that each member may take.
        embed: names of members whose embeddings are wanted besides.

    Raises:
        InputError: as `answers.ask_all`; `rows-differ` or `bad-data`: the truth does not fit.
    """
    check_order(truth, rows)
    right = None if truth is None else truth_of(truth, classes, task, len(rows))
    told = {"on_error": on_error, "time_limit": time_limit, "embed": embed, "progress": progress}
    found = ask_all(members, rows, classes, task, **told)  # type: ignore[arg-type]
    return Bank(
        task=task,
        members=tuple(member.name for member in members),
        classes=tuple(classes),
        P=found.P,
        mask=found.mask,
        ids=rows.ids,
        truth=right,
        provenance=(provenance,) * len(members),
        probable=found.probable,
        embeddings=found.embeddings,
        features=features,
        notes=found.notes,
    )
