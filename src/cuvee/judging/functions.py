"""Tasks that are functions of the user's own: called with a model, their outcomes checked, their failures told."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np

from cuvee.data.functions import function_named
from cuvee.errors import CuveeError, Fault, InputError
from cuvee.judging.answers import Answers
from cuvee.judging.asking.subject import Subject
from cuvee.judging.tasks.model import FunctionOptions, Task


def outcomes(subject: Subject, task: Task, rows: Sequence[int] | None = None) -> Answers:
    """What a task's own function says of a model.

    Args:
        subject: the model.
        task: a `function`. With data it is called with the model and the rows, as mappings, and gives a number for
            each of them; without with the model alone, and gives a number, or one for each row of its own.
        rows: which rows; of a function without data, those of what it gives.

    Raises:
        UsageError: there is no such function.
        InputError: `task-crashed`: it failed, or gave something else than numbers; `no-score`: a number that is NaN
            or infinite.
    """
    options = task.options
    assert isinstance(options, FunctionOptions)
    function = function_named(options.function, task.name, "judges a model", options.start)
    chosen = task.rows if rows is None else tuple(task.rows[row] for row in rows) if task.rows else ()
    given: list[Any] = [_model(subject, task, options)]
    if task.rows:
        given.append([dict(row.values) for row in chosen])
    try:
        found = function(*given)
    except CuveeError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code does
        raise InputError(_crashed(subject, task, error)) from error
    values = _numbers(found, subject, task)
    if task.rows:
        _check_count(values, len(chosen), subject, task)
        groups = {name: tuple(of[i] for i in rows or range(len(of))) for name, of in task.groups.items()}
        return Answers("outcome", {"value": values}, tuple(row.id for row in chosen), groups=groups or None)
    made = Answers("outcome", {"value": values}, tuple(str(i) for i in range(len(values))))
    return made if rows is None else made.take(rows)


def _model(subject: Subject, task: Task, options: FunctionOptions) -> Any:
    if options.gets == "model":
        return subject.model
    if subject.folder is None:
        message = f"{task.name} gets the folder of a model, and {subject.label} is in memory"
        hint = "merge it into a folder first, or say `gets: model`"
        raise InputError(Fault("wrong-model", message, subject=subject.label, hint=hint))
    return subject.folder


def _crashed(subject: Subject, task: Task, error: BaseException) -> Fault:
    """What a function's failure is told as: the error, and where in its code it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    said = " ".join(str(error).split())[:300]
    message = f"the function of the task `{task.name}` failed on {subject.label}: {type(error).__name__}: {said}{where}"
    return Fault("task-crashed", message, subject=task.name, hint="scores found before it are kept")


def _numbers(found: Any, subject: Subject, task: Task) -> np.ndarray[Any, Any]:
    """The outcomes as float64 `[n]`; one number is one row."""
    try:
        values = np.atleast_1d(np.asarray(_plain(found), dtype=np.float64))
        good = values.ndim == 1 and len(values) > 0
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        message = f"the function of the task `{task.name}` should give a number, or one for each row"
        what = f"{message}; on {subject.label} it gave {type(found).__name__} {found!r:.60}"
        raise InputError(Fault("task-crashed", what, subject=task.name))
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        said = "NaN" if math.isnan(values[first]) else "infinity"
        message = f"the function of the task `{task.name}` gave {said} for {subject.label}, row {first}"
        raise InputError(Fault("no-score", message, subject=task.name))
    return values


def _plain(found: Any) -> Any:
    """Outcomes without gradients and devices, where they are tensors; texts are no numbers, whatever NumPy thinks."""
    if hasattr(found, "detach"):
        return found.detach().cpu().double().numpy()
    values = list(found) if hasattr(found, "__iter__") and not isinstance(found, str | bytes | dict) else [found]
    plain = [one.item() if hasattr(one, "item") else one for one in values]
    if not all(isinstance(one, int | float) for one in plain):
        raise TypeError(found)
    return plain


def _check_count(values: np.ndarray[Any, Any], wanted: int, subject: Subject, task: Task) -> None:
    if len(values) != wanted:
        message = f"the function of the task `{task.name}` should give {wanted} numbers, one for each row"
        what = f"{message}; on {subject.label} it gave {len(values)}"
        raise InputError(Fault("task-crashed", what, subject=task.name))
