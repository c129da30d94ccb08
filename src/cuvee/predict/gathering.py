"""A bank made by asking members."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, nearest
from cuvee.predict.answers import OnError, ask_all
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.labels import look_alike, named
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task, Trained


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


def truth_of(y: Any, classes: Sequence[Label], task: Task, n: int) -> Array:
    """The right answers as a bank keeps them: numbers of classes (int64), or values (float64), `[n]`.

    Raises:
        InputError: `rows-differ`: not one for each row; `bad-data`: a label that is no class, or a value that is not
            finite.
    """
    given = np.asarray(y.to_numpy() if hasattr(y, "iloc") else y)
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
    labels = given.tolist()
    try:
        return np.array([numbers[label] for label in labels], dtype=np.int64)
    except (KeyError, TypeError):
        raise InputError([_foreign(label, classes) for label in _strange(labels, numbers)[:20]]) from None


def _strange(labels: Sequence[Any], numbers: Mapping[Any, int]) -> list[Any]:
    """Labels that are no class, each once."""
    found: dict[str, Any] = {}
    for label in labels:
        if label.__hash__ is None or label not in numbers:
            found.setdefault(repr(label), label)
    return list(found.values())


def _foreign(label: Any, classes: Sequence[Label]) -> Fault:
    alike = look_alike(label, classes)
    hint = nearest(str(label), map(str, classes)) if alike is None else f"the class is {alike!r}, of another type"
    return Fault("bad-data", f"a right answer is {named(label)!r}, which is no class", None, "y", hint)
