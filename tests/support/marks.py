"""Recipe texts with marks where faults are expected: `‸` stands right before the place."""

from __future__ import annotations

from cuvee.errors import Fault, RecipeError
from cuvee.recipe import Methods, Recipe, parse_text
from tests.support.specs import SPECS

MARK = "‸"
Where = tuple[int, int]


def unmarked(text: str) -> tuple[str, list[Where]]:
    """The text without marks, and the line and column (from 1) of each mark."""
    places: list[Where] = []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        pieces = line.split(MARK)
        length = 0
        for piece in pieces[:-1]:
            length += len(piece)
            places.append((number, length + 1))
        lines.append("".join(pieces))
    return "\n".join(lines), places


def faults_in(text: str, methods: Methods = SPECS) -> list[Fault]:
    """Every fault of a recipe text, marks taken out; none if it is right."""
    try:
        parse_text(unmarked(text)[0], methods)
    except RecipeError as error:
        return list(error.faults)
    return []


def where(fault: Fault) -> Where:
    """Line and column of a fault."""
    assert fault.place is not None, fault
    assert fault.place.file == "<recipe>"
    return fault.place.line, fault.place.column


def told(text: str, methods: Methods = SPECS) -> list[tuple[str, Where]]:
    """Codes and places of the faults of a recipe text."""
    return [(fault.code, where(fault)) for fault in faults_in(text, methods)]


def recipe_of(text: str, methods: Methods = SPECS) -> Recipe:
    """The recipe of a text that must be right."""
    return parse_text(text, methods)


def assert_only(text: str, code: str, message: str, hint: str | None) -> None:
    """The text has one fault: of that code, at its mark, with these words in message and hint."""
    _, (place,) = unmarked(text)
    faults = faults_in(text)
    assert [(fault.code, where(fault)) for fault in faults] == [(code, place)], [str(fault) for fault in faults]
    assert message in faults[0].message
    assert (hint or "") in (faults[0].hint or "")
