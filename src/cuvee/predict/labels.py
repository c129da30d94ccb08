"""Classes by name: what counts as one label, and what to say where two only look alike.

Labels are texts, numbers and truth values; NumPy's scalars count as the Python values that they hold, so that
`np.int64(3)` is 3. Numbers are equal as Python has them (`3.0` is 3, `True` is 1); a text is never a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cuvee.errors import Fault, listed, nearest

Label = str | int | bool | float
"""A class by the name that users know it by."""

_STAND_IN = re.compile(r"LABEL_\d+")
"""What transformers calls a class that nobody named."""


def named(label: Any) -> Label:
    """A label as a Python value.

    Example:
        >>> import numpy as np
        >>> named(np.int64(3)), named(np.str_("a"))
        (3, 'a')
    """
    plain = label.item() if hasattr(label, "item") and getattr(label, "shape", None) == () else label
    return str(plain) if isinstance(plain, str) else plain


def label_faults(labels: Sequence[Any], what: str) -> list[Fault]:
    """What is wrong with a list of classes: one that is no label, or that stands twice."""
    wrong = [
        Fault("bad-argument", f"{what} should be texts or numbers; found {one!r:.60}", subject=what)
        for one in labels
        if not isinstance(one, str | int | float) or one != one
    ]
    if not wrong and len(set(labels)) < len(labels):
        twice = next(one for i, one in enumerate(labels) if one in labels[:i])
        wrong.append(Fault("bad-argument", f"{what} should all differ; {twice!r} stands twice", subject=what))
    return wrong


def map_faults(label_map: Mapping[Label, Label], classes: Sequence[Label], name: str) -> list[Fault]:
    """What is wrong with a map of labels: it speaks of labels that the member does not have."""
    faults = []
    for label in label_map:
        if label in classes:
            continue
        alike = look_alike(label, classes)
        hint = nearest(str(label), map(str, classes)) if alike is None else f"its class is {alike!r}"
        message = f"`label_map` of {name!r} speaks of {label!r}, which is none of its classes"
        faults.append(Fault("bad-argument", message, subject="label_map", hint=hint))
    return faults


def look_alike(label: Any, known: Iterable[Label]) -> Label | None:
    """The class that differs from a label in its type alone, if there is one.

    Example:
        >>> look_alike("3", [1, 2, 3])
        3
    """
    return next((one for one in known if one != label and str(one) == str(label)), None)


def foreign_hint(extra: Sequence[Label], missing: Sequence[Label]) -> str:
    """What to do about labels that the ensemble does not have.

    Args:
        extra: labels of a member that are none of the ensemble's.
        missing: classes of the ensemble that the member lacks.
    """
    pairs = [(label, alike) for label in extra if (alike := look_alike(label, missing)) is not None]
    if pairs:
        said = ", ".join(f"{label!r}: {alike!r}" for label, alike in pairs[:3])
        return f"only their types differ: give `label_map={{{said}{', …' if len(pairs) > 3 else ''}}}`"
    if all(isinstance(label, str) and _STAND_IN.fullmatch(label) for label in extra):
        return "transformers calls classes so that nobody named: give `classes`, in the order of its columns"
    if all(type(label) is int for label in extra) and any(isinstance(label, str) for label in missing):
        return "it numbers its classes: give `classes`, in the order of its columns, or a `label_map`"
    near = nearest(str(extra[0]), map(str, missing))
    return f"give a `label_map` from its labels to the ensemble's ({near})" if missing else "give a `label_map`"


def shown(labels: Sequence[Label], most: int = 8) -> str:
    """Labels as a message has them."""
    return listed(map(repr, labels), most)
