"""What a row of a task may hold, by what a column is for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final


def read_value(role: str, value: Any, folder: Path) -> Any:
    """The value of a column as its task takes it.

    Args:
        role: what the column is for.
        value: what stands in the data.
        folder: where paths of pictures start.

    Raises:
        ValueError: what it should be, to complete "`column` should be …".
    """
    return _READERS[role](value, folder)


def _text(value: Any, _folder: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def _label(value: Any, _folder: Path) -> int | str:
    if not (type(value) is int or (isinstance(value, str) and value)):
        raise ValueError("a class's name or number")
    return value


def _number(value: Any, _folder: Path) -> float:
    wanted = "a number"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(wanted)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(wanted) from None
    if not math.isfinite(number):
        raise ValueError("a number that is finite")
    return number


def _answers(value: Any, _folder: Path) -> tuple[str, ...]:
    """The answers that are right: a text or number, or a list of them."""
    given = value if isinstance(value, list) else [value]
    right = tuple(str(one) for one in given if isinstance(one, str | int | float) and not isinstance(one, bool))
    if not given or len(right) < len(given) or not all(right):
        raise ValueError("a text, or a list of texts that are all right")
    return right


def _choices(value: Any, _folder: Path) -> tuple[str, ...]:
    given = _parsed(value)
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(one, str) and one for one in given):
        raise ValueError("a list of two or more texts (in a table of text, written as JSON)")
    if len(set(given)) < len(given):
        raise ValueError("a list of texts of which no two are the same")
    return tuple(given)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _name(value: Any, _folder: Path) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError("a name or number")
    return str(value)


def _names(value: Any, folder: Path) -> tuple[str, ...]:
    given = _parsed(value) if isinstance(value, str) and value.startswith("[") else value
    given = given if isinstance(given, list) else [given]
    if not given:
        raise ValueError("the `id` of a document, or a list of them")
    return tuple(_name(one, folder) for one in given)


def _picture(value: Any, folder: Path) -> Any:
    """The path of a picture, or its bytes as Parquet files of the hub hold them."""
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return value["bytes"]
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("the path of a picture")
    path = folder / value
    if not path.is_file():
        raise ValueError(f"the path of a picture; there is none at {path}")
    return path


_READERS: Final[Mapping[str, Callable[[Any, Path], Any]]] = {
    "text": _text,
    "pair": _text,
    "content": _text,
    "query": _text,
    "prompt": _text,
    "label": _label,
    "number": _number,
    "choices": _choices,
    "answer": _answers,
    "document": _name,
    "relevant": _names,
    "image": _picture,
}
