"""The table of docs/differences.md, read by the tests, so that page and behaviour cannot drift apart.

A row is `| id | mergekit 0.1.5 | Cuvee | shown by | … |`. The second and third cell say what each does: `writes` a
model, `fails`, or — for Cuvee — the reason codes it refuses with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
ROW = re.compile(r"^\| `(?P<id>[a-z0-9-]+)` \| (?P<theirs>[^|]+) \| (?P<ours>[^|]+) \| (?P<shown>[^|]+) \|", re.M)
PARAGRAPH = re.compile(r"^((?:\*\*\w+\*\*, )*\*\*\w+\.\*\*)\s(.+?)(?:\n\n|\Z)", re.M | re.S)
HEADING = re.compile(r"^### .*\(`(?P<id>[a-z0-9-]+)`\)$", re.M)


@dataclass(frozen=True)
class Row:
    """One difference: what both sides do, and which tests show it."""

    id: str
    theirs: str
    ours: tuple[str, ...]
    shown: str


def text() -> str:
    return PAGE.read_text("utf-8")


def rows() -> Mapping[str, Row]:
    """Every row of the table by its id."""
    found = [
        Row(m["id"], m["theirs"].strip(), tuple(re.findall(r"[a-z-]+", m["ours"])), m["shown"].strip())
        for m in ROW.finditer(text())
    ]
    assert len({row.id for row in found}) == len(found), "an id stands twice in the table"
    return {row.id: row for row in found}


def headings() -> list[str]:
    """The ids that a section is about."""
    return [m["id"] for m in HEADING.finditer(text())]


def methods() -> Mapping[str, str]:
    """What stands under each method's name, its paragraphs one after another."""
    section = text().split("\n## Methods\n", 1)[1].split("\n## ", 1)[0]
    found: dict[str, str] = {}
    for names, said in PARAGRAPH.findall(section):
        for name in re.findall(r"\w+", names):
            found[name] = f"{found.get(name, '')} {said}"
    return found


def explains(row: Row | None, their_error: str | None, our_error: str | None) -> bool:
    """Whether a row says what happened: both sides' verdicts, ours by its reason code."""
    if row is None:
        return False
    code = "writes" if our_error is None else our_error.split(":", 1)[0]
    return row.theirs == ("writes" if their_error is None else "fails") and code in row.ours
