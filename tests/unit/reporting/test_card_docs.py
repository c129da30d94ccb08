"""docs/card.md tells the table of licences as it is."""

from __future__ import annotations

import re
from pathlib import Path

from cuvee.reporting.licence_table import LICENCES

DOCS = Path(__file__).parents[3] / "docs" / "card.md"


def test_the_table_of_licences_in_the_docs_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| ([a-z, -]+) \| [^|]+ \| (`[^|]+) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    told = {name: kind for kind, ids in rows for name in re.findall("`([^`]+)`", ids) if name != "other"}
    assert told == {one.id: one.kind for one in LICENCES.values()}
