"""Change single values of a JSON text and leave every other byte as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a value stands in the text, and how deep."""

    begin: int
    end: int
    depth: int


def patch_json(text: str, changes: Mapping[Path, Any]) -> str:
    """Set the values at some paths of a JSON object.

    Args:
        text: JSON with an object at the top.
        changes: path of keys → new value; a key that is not there is added at the end of its object.

    Returns:
        The text with only these values changed; equal to `text` when there are none.

    Raises:
        KeyError: the object that should hold a new key is not there.

    Example:
        >>> patch_json('{"a": 1.0e-05, "b": 2}', {("b",): 3})
        '{"a": 1.0e-05, "b": 3}'
    """
    for path, value in changes.items():
        spans = _spans(text)
        there = spans.get(path)
        text = _replace(text, there, value) if there else _append(text, spans[path[:-1]], path[-1], value)
    return text


def _spans(text: str) -> dict[Path, _Span]:
    """Every object member's value, by path; the whole object at `()`."""
    found: dict[Path, _Span] = {}
    _walk(text, _skip(text, 0), (), found)
    return found


def _skip(text: str, i: int) -> int:
    match = _SPACE.match(text, i)
    return match.end() if match else i


def _walk(text: str, i: int, path: Path, found: dict[Path, _Span]) -> int:
    """Record the value that begins at `i`; returns where it ends."""
    begin = i
    if text[i] != "{":
        end = int(_DECODER.raw_decode(text, i)[1])
    else:
        i = _skip(text, i + 1)
        while text[i] != "}":
            key, i = scanstring(text, i + 1, True)
            i = _walk(text, _skip(text, _skip(text, i) + 1), (*path, key), found)
            i = _skip(text, i)
            i = _skip(text, i + 1) if text[i] == "," else i
        end = i + 1
    found[path] = _Span(begin, end, len(path))
    return end


def _written(value: Any, depth: int, multiline: bool) -> str:
    """A value as text, its inner lines indented as deep as it stands."""
    if not multiline or not isinstance(value, list | dict):
        return json.dumps(value)
    return json.dumps(value, indent=2).replace("\n", "\n" + "  " * depth)


def _replace(text: str, span: _Span, value: Any) -> str:
    multiline = "\n" in text[span.begin : span.end] or "\n" in text[: span.begin]
    return text[: span.begin] + _written(value, span.depth, multiline) + text[span.end :]


def _append(text: str, span: _Span, key: str, value: Any) -> str:
    """Add a member at the end of the object that `span` covers, laid out as its neighbours are."""
    inside = text[span.begin + 1 : span.end - 1]
    multiline = "\n" in inside
    lead = "\n" + "  " * (span.depth + 1) if multiline else " " if inside.strip() else ""
    comma = "," if inside.strip() else ""
    end = span.begin + 1 + len(inside.rstrip())
    return text[:end] + f"{comma}{lead}{json.dumps(key)}: {_written(value, span.depth + 1, multiline)}" + text[end:]
