"""Values as JSON can say them, and back: the types of labels exactly, and numbers that JSON has no word for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np

from cuvee.predict.trained import Label

_FLOAT: Final = "$float"
_LABELS: Final = {"bool": bool, "int": int, "float": float, "str": str}


def plain(value: Any) -> Any:
    """A value of JSON's own types; NaN and infinities become `{"$float": "nan"}`.

    Raises:
        ValueError: it holds something else; the text says what.

    Example:
        >>> plain({"share": np.float64(0.5), "limits": (1, float("inf"))})
        {'share': 0.5, 'limits': [1, {'$float': 'inf'}]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str) or key == _FLOAT]:
            raise ValueError(f"the key {odd[0]!r} is no text")
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    raise ValueError(f"a {type(value).__name__} cannot be said in JSON")


def unplain(value: Any) -> Any:
    """What `plain` was given, with lists for tuples."""
    if isinstance(value, dict):
        if value.keys() == {_FLOAT}:
            return float(value[_FLOAT])
        return {key: unplain(one) for key, one in value.items()}
    return [unplain(one) for one in value] if isinstance(value, list) else value


def frozen(value: Any) -> Any:
    """The same with tuples for lists: settings of combiners are frozen."""
    if isinstance(value, dict):
        return {key: frozen(one) for key, one in value.items()}
    return tuple(frozen(one) for one in value) if isinstance(value, list) else value


def said_label(label: Label) -> dict[str, Label]:
    """A label with its type: `True`, `1`, `1.0` and `"1"` are four labels.

    Raises:
        ValueError: a label of another type, or NaN.

    Example:
        >>> said_label(np.int64(1)), said_label("1")
        ({'int': 1}, {'str': '1'})
    """
    value: Any = label.item() if isinstance(label, np.generic) else label
    for name, kind in _LABELS.items():
        if isinstance(value, kind):
            if isinstance(value, float) and not math.isfinite(value):
                break
            return {name: kind(value)}
    raise ValueError(f"{label!r} cannot be a label: it must be a text, an integer, a finite number, or true or false")


def label_of(said: Any) -> Label:
    """What `said_label` was given.

    Raises:
        ValueError: it is no label.
    """
    if isinstance(said, dict) and len(said) == 1:
        [(name, value)] = said.items()
        if type(value) is _LABELS.get(name) and not (isinstance(value, float) and not math.isfinite(value)):
            return cast(Label, value)
    raise ValueError(f"{str(said)[:80]} is no label")
