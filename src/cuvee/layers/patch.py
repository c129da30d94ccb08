"""Change single values of a JSON text and leave every other byte as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a value stands in the text, how deep, and where its key begins; the whole text has none."""

    begin: int
    end: int
    depth: int
    key: int = -1


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
    layout = _layout_of(text)
    for path, value in changes.items():
        spans = _spans(text)
        there = spans.get(path)
        if there:
            text = _replace(text, there, value, layout)
            continue
        around = spans[path[:-1]]
        if text[around.begin] != "{":
            raise KeyError(path)
        text = _append(text, around, path[-1], value, layout)
    return text


def remove_json(text: str, paths: Iterable[Path]) -> str:
    """Take members out of a JSON object.

    Args:
        text: JSON with an object at the top.
        paths: paths of keys; one that is not there changes nothing.

    Returns:
        The text without these members, and otherwise byte for byte as it was.

    Example:
        >>> remove_json('{"a": 1.0e-05, "b": {"c": 3}, "d": 2}', [("b",)])
        '{"a": 1.0e-05, "d": 2}'
    """
    for path in paths:
        if span := _spans(text).get(path):
            begin, end = _with_comma(text, span)
            text = text[:begin] + text[end:]
    return text


def _with_comma(text: str, span: _Span) -> tuple[int, int]:
    """A member with the comma that goes with it: the one after it, or before the last member of an object."""
    after = _skip(text, span.end)
    if text[after] == ",":
        return span.key, _skip(text, after + 1)
    before = len(text[: span.key].rstrip(" \t\n\r")) - 1
    return (before, span.end) if text[before] == "," else (span.key, span.end)


def _spans(text: str) -> dict[Path, _Span]:
    """Every object member's value, by path; the whole object at `()`."""
    found: dict[Path, _Span] = {}
    _walk(text, _skip(text, 0), -1, (), found)
    return found


def _skip(text: str, i: int) -> int:
    match = _SPACE.match(text, i)
    return match.end() if match else i


def _walk(text: str, i: int, key_at: int, path: Path, found: dict[Path, _Span]) -> int:
    """Record the value that begins at `i` and its key at `key_at`; returns where it ends."""
    begin = i
    if text[i] != "{":
        end = int(_DECODER.raw_decode(text, i)[1])
    else:
        i = _skip(text, i + 1)
        while text[i] != "}":
            at = i
            key, i = scanstring(text, i + 1, True)
            i = _walk(text, _skip(text, _skip(text, i) + 1), at, (*path, key), found)
            i = _skip(text, i)
            i = _skip(text, i + 1) if text[i] == "," else i
        end = i + 1
    found[path] = _Span(begin, end, len(path), key_at)
    return end


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the text is laid out: one step of indentation, and what ends a line."""

    indent: str
    newline: str


def _layout_of(text: str) -> _Layout:
    """The first indented line's indentation; two blanks in a text without any."""
    found = re.search(r"\n([ \t]+)", text)
    return _Layout(found[1] if found else "  ", "\r\n" if "\r\n" in text else "\n")


def _written(value: Any, depth: int, multiline: bool, layout: _Layout) -> str:
    """A value as text, its inner lines indented as deep as it stands."""
    if not multiline or not isinstance(value, list | dict):
        return json.dumps(value)
    return json.dumps(value, indent=layout.indent).replace("\n", layout.newline + layout.indent * depth)


def _replace(text: str, span: _Span, value: Any, layout: _Layout) -> str:
    multiline = "\n" in text[span.begin : span.end] or "\n" in text[: span.begin]
    return text[: span.begin] + _written(value, span.depth, multiline, layout) + text[span.end :]


def _append(text: str, span: _Span, key: str, value: Any, layout: _Layout) -> str:
    """Add a member at the end of the object that `span` covers, laid out as its neighbours are."""
    inside = text[span.begin + 1 : span.end - 1]
    multiline = "\n" in inside
    lead = layout.newline + layout.indent * (span.depth + 1) if multiline else " " if inside.strip() else ""
    comma = "," if inside.strip() else ""
    end = span.begin + 1 + len(inside.rstrip())
    written = _written(value, span.depth + 1, multiline, layout)
    return text[:end] + f"{comma}{lead}{json.dumps(key)}: {written}" + text[end:]
