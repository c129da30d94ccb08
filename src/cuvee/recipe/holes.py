"""Holes: places of a recipe where a search puts values. Known here so that everybody else can refuse them in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cuvee.recipe.findings import Finding
from cuvee.recipe.model import DocumentPath

HOLE_KEYS: Final = ("search", "choose", "flow")
"""Keys that make a mapping a hole; no mapping of a recipe has one of them."""


def is_hole(value: Any) -> bool:
    """Whether a value is a hole, right or wrong.

    Example:
        >>> is_hole({"search": [0, 1]}), is_hole({"filter": "mlp", "value": 1})
        (True, False)
    """
    return isinstance(value, Mapping) and any(key in value for key in HOLE_KEYS)


def holes_in(value: Any, at: DocumentPath = ()) -> Iterator[tuple[DocumentPath, Mapping[str, Any]]]:
    """Every hole of a document with its path, in the order of the document; what is inside a hole is its own."""
    if is_hole(value):
        yield at, value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from holes_in(entry, (*at, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from holes_in(entry, (*at, index))


def hole_findings(data: Any, file: str | None) -> list[Finding]:
    """A fault for every hole of what should be a whole recipe.

    Args:
        data: the document.
        file: where it stands, `None` for data of a program.
    """
    hint = f"`cuvee search {file or 'RECIPE'}` fills holes and writes a recipe without"
    message = "a recipe that is merged or planned should be whole; found a hole to be searched"
    return [Finding("has-holes", message, path, hint) for path, _ in holes_in(data)]
