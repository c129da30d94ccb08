"""What an ensemble is about: its task, its classes, and the numbers of rows that some combiners look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, refuse
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task

ROLES: Final = ("label", "id", "split", "group", "time", "cv")
"""What may be known of the table that an ensemble was made of: which columns are no features, and the folds."""


def check_subject(task: Task, classes: Sequence[Label], on_error: str) -> None:
    """Refuse an ensemble that is about nothing.

    Raises:
        UsageError: `bad-argument`, all faults.
    """
    wrong = []
    if task not in ("classification", "regression"):
        wrong.append(
            Fault("bad-argument", f"`task` must be classification or regression; found {task!r}", subject="task")
        )
    if isinstance(classes, str):
        wrong.append(Fault("bad-argument", f"`classes` must be a list; found the text {classes!r}", subject="classes"))
    elif task == "regression" and len(classes):
        wrong.append(Fault("bad-argument", f"a regression has no `classes`; found {list(classes)}", subject="classes"))
    elif task == "classification" and (len(classes) < 2 or len(set(classes)) < len(classes)):
        message = f"`classes` must be two labels or more, all different; found {list(classes)}"
        wrong.append(Fault("bad-argument", message, subject="classes"))
    if on_error not in ("raise", "mask"):
        wrong.append(Fault("bad-argument", f"`on_error` must be raise or mask; found {on_error!r}", subject="on_error"))
    refuse(wrong)


def view_of(rows: Rows, features: Callable[[Any], Array] | None) -> Array | None:
    """The rows' own numbers, `[N, D]`: what `features` makes of them, or a plain matrix itself; else `None`.

    Raises:
        InputError: `bad-data`: `features` gave something else than a row of finite numbers for each row.
    """
    if features is None:
        is_matrix = rows.form == "array" and isinstance(rows.data, np.ndarray) and rows.data.ndim == 2
        return rows.data.astype(np.float64, copy=False) if is_matrix and rows.data.dtype.kind in "biuf" else None
    found = np.asarray(features(rows.data), np.float64)
    if found.ndim != 2 or len(found) != len(rows) or not np.isfinite(found).all():
        message = (
            f"`features` must give finite numbers [N, D] for {len(rows):,} rows; found the shape {list(found.shape)}"
        )
        raise InputError(Fault("bad-data", message, subject="features"))
    return found
