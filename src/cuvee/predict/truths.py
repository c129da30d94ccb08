"""Labels as they are given, made into the numbers that a bank keeps, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, nearest
from cuvee.predict.labels import look_alike, named
from cuvee.predict.rows import Rows, index_of
from cuvee.predict.trained import Label, Task


def plain_labels(y: Any) -> list[Any]:
    """Labels as Python's own str, int, bool and float, whatever holds them.

    A list is never made an array: `["a", 1]` would come out as texts.

    Example:
        >>> plain_labels(np.array([1, 2])), plain_labels(["a", 1])
        ([1, 2], ['a', 1])
    """
    found = y.tolist() if hasattr(y, "tolist") else list(y)
    return [one.item() if isinstance(one, np.generic) else one for one in found]


def classes_of(y: Any) -> tuple[Label, ...]:
    """The different labels in order; those of several types by the name of the type first.

    Example:
        >>> classes_of(["b", "a", "b"])
        ('a', 'b')
    """
    return tuple(sorted(dict.fromkeys(plain_labels(y)), key=lambda label: (_family(label), label)))


def _family(label: Label) -> str:
    return "number" if isinstance(label, (int, float)) else type(label).__name__


def truth_of(y: Any, classes: Sequence[Label], task: Task, n: int) -> Array:
    """The right answers as a bank keeps them: numbers of classes (int64), or values (float64), `[n]`.

    Raises:
        InputError: `rows-differ`: not one for each row; `bad-data`: a label that is no class, or a value that is not
            finite.
    """
    shape = tuple(getattr(y, "shape", (len(y),)))
    if shape != (n,):
        message = f"there must be a right answer for each of {n:,} rows; found the shape {list(shape)}"
        raise InputError(Fault("rows-differ", message, subject="y"))
    return _values(y) if task == "regression" else _numbers(plain_labels(y), classes)


def check_order(y: Any, rows: Rows) -> None:
    """Refuse a column of right answers that is in another order than the data frame of the rows, by their indexes.

    Indexes that only count name no row, and an index of other names than the frame's, which counts, says nothing.

    Raises:
        InputError: `rows-differ`.
    """
    frame, theirs = getattr(rows.data, "index", None), index_of(y) if hasattr(y, "iloc") else None
    if rows.form != "frame" or theirs is None or len(theirs) != len(rows):
        return
    own = list(map(str, frame))  # type: ignore[arg-type]
    given = list(map(str, theirs))
    if own == given or (index_of(rows.data) is None and set(own) != set(given)):
        return
    place = next(at for at, (one, other) in enumerate(zip(own, given)) if one != other)
    what = "in the order of the rows" if set(own) == set(given) else "of the rows"
    message = f"right answers must be {what}; their index has {given[place]!r} where the rows' has {own[place]!r}"
    hint = "give `y.loc[X.index]`, or `y.to_numpy()` if only the names differ"
    raise InputError(Fault("rows-differ", message, subject="y", hint=hint))


def _values(y: Any) -> Array:
    try:
        values = np.asarray(y, np.float64)
    except (TypeError, ValueError):
        message = f"right answers of a regression must be numbers; found {plain_labels(y)[:3]}"
        raise InputError(Fault("bad-data", message, subject="y")) from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(Fault("bad-data", f"right answers must be finite; row {row}: {values[row]}", subject="y"))
    return values


def _numbers(labels: Sequence[Any], classes: Sequence[Label]) -> Array:
    numbers = {label: number for number, label in enumerate(classes)}
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
