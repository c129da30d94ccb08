"""JSON as it comes from strangers: sizes capped, duplicate keys found, depth survived."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.regular import open_regular

MAX_DEPTH: Final = 100
"""Levels of nesting; real files have fewer than ten, and far deeper ones break whatever walks through them."""

_BRACKETS: Final = 100_000  # names may hold some too


def read_capped(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes.

    Raises:
        ValueError: the file is larger; no more than `limit` bytes have been read.
    """
    with open_regular(path) as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"larger than {limit:,} bytes")
    return raw


def parse_json(
    raw: bytes,
    parse_int: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> tuple[Any, tuple[str, ...]]:
    """A JSON text's value and the keys that stand twice in one of its objects.

    Args:
        raw: the text.
        parse_int: what makes a number of whole digits; `int`, if not given.
        parse_constant: what is made of `NaN`, `Infinity` and `-Infinity`, which are no JSON; floats, if not given.

    Raises:
        ValueError: not UTF-8, not JSON, nested more than `MAX_DEPTH` deep, little but brackets, or holding a number of
            thousands of digits.
    """
    # An entry of a header has three brackets in fifty bytes; a text of nothing else takes 25 times its size in memory.
    brackets = raw.count(b"[") + raw.count(b"{")
    if brackets > _BRACKETS + len(raw) // 10:
        raise ValueError("it is little but brackets")
    repeated: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            repeated.extend(_repeats(pairs))
        return made

    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=keep, parse_int=parse_int, parse_constant=parse_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if brackets > MAX_DEPTH and _is_deep(value):
        raise ValueError("nested too deeply")
    return value, tuple(repeated)


def _is_deep(value: Any) -> bool:
    """Whether lists and objects stand more than `MAX_DEPTH` deep in one another; found level by level."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        inside = (entry.values() if isinstance(entry, dict) else entry for entry in level)
        level = [part for entry in inside for part in entry if isinstance(part, (dict, list))]
        if not level:
            return False
    return True


def _repeats(pairs: list[tuple[str, Any]]) -> list[str]:
    seen: set[str] = set()
    again: dict[str, None] = {}
    for key, _ in pairs:
        if key in seen:
            again[key] = None
        seen.add(key)
    return list(again)
