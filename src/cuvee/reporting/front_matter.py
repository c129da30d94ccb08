"""The YAML at the head of a model card: reading anybody's, and writing one that every reader of YAML reads alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any, Final

from cuvee.errors import RecipeError

_BLOCK: Final = re.compile(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""Texts that YAML 1.1 takes for something else: Norwegian is `no`."""


def read_front_matter(text: str, file: str) -> dict[str, Any]:
    """The front matter of a card; empty where there is none.

    Args:
        text: the card.
        file: its name, for messages.

    Raises:
        ValueError: it is no YAML, or no mapping.
    """
    from cuvee.recipe.text import read_yaml

    if (found := _BLOCK.match(text)) is None:
        return {}
    try:
        data = read_yaml(found[1], file).data
    except RecipeError as error:
        raise ValueError(error.faults[0].message) from error
    if not isinstance(data, Mapping):
        raise ValueError("it should be a mapping")
    return dict(data)


def languages_in(front: Mapping[str, Any]) -> list[str]:
    """The languages that a card names; `no` is Norwegian, which YAML takes for a false."""
    given = front.get("language")
    several = given if isinstance(given, list) else [given]
    words = ["no" if word is False else word for word in several]
    return [word for word in words if isinstance(word, str) and re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z0-9]+)*", word)]


def front_matter(data: Mapping[str, Any]) -> str:
    """Plain data as front matter, between its two lines of dashes."""
    from ruamel.yaml import YAML  # only who writes YAML loads it

    yaml = YAML()
    yaml.width = 1_000_000  # a folded text could begin a line with anything
    yaml.allow_unicode = True
    stream = StringIO()
    yaml.dump(_quoted(data), stream)
    return f"---\n{stream.getvalue()}---\n"


def _quoted(value: Any) -> Any:
    """The data with quotes around every text that is no plain word."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {key: _quoted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(entry) for entry in value]
    if isinstance(value, str) and (value.lower() in _WORDS or not _PLAIN.fullmatch(value)):
        return DoubleQuotedScalarString(value)
    return value
