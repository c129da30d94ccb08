"""What a member does with sample rows before it is taken in: whether it answers well, and the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from cuvee.errors import Fault, InputError
from cuvee.predict.alignment import member_faults
from cuvee.predict.answers import ask, raw
from cuvee.predict.checking import checked
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task, Trained

_SAME: Final = 1e-5
"""Two answers are the same where they differ by no more than this: threads add in another order each time."""


def probe(member: Trained, rows: Rows, classes: Sequence[Label] | None = None, task: Task | None = None) -> list[Fault]:
    """Ask a member about sample rows, twice.

    Args:
        member: the member.
        rows: a few rows that it can read.
        classes: of the ensemble; its own without them.
        task: of the ensemble; its own without it.

    Returns:
        What is wrong with it: that it does not fit the ensemble, fails, answers badly, or otherwise each time.
    """
    own = member.known if classes is None else tuple(classes)
    asked = task or member.task
    if faults := member_faults(member, own, asked):
        return faults
    try:
        ask(member, rows, own, asked)
        return determinism_faults(member, rows)
    except InputError as error:
        return list(error.faults)


def determinism_faults(member: Trained, rows: Rows) -> list[Fault]:
    """That a member answers the same rows otherwise a second time, as with dropout left on.

    Raises:
        InputError: it fails, or answers badly.
    """
    mask = rows.present(member.reads, whole=member.whole)
    asked = rows.take(np.flatnonzero(mask))
    if not len(asked):
        return []
    first, second = (checked(member, raw(member, asked), asked.ids) for _ in range(2))
    apart = np.abs(first - second) > _SAME * np.maximum(1.0, np.abs(first))
    if not apart.any():
        return []
    row, column = np.argwhere(apart)[0]
    seen = f"row {asked.ids[row]}: {first[row, column]:.6g}, then {second[row, column]:.6g}"
    cause = "dropout is on" if is_training(member.thing) else "it draws at random, or dropout was left on"
    message = f"the member {member.name!r} answers the same rows otherwise the second time ({seen}): {cause}"
    hint = "put a torch model in evaluation mode with `.eval()`, and give what draws a seed of its own"
    return [Fault("bad-output", message, subject=member.name, hint=hint)]


def is_training(thing: Any) -> bool:
    """Whether a torch module, or any part of it, is in training mode, so that dropout is on."""
    modules = getattr(thing, "modules", None)
    return callable(modules) and any(getattr(part, "training", False) for part in modules())
