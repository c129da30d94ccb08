"""`README.md` lists every attack: each has a number and a test, and each test stands in it once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src" / "cuvee"
ROWS = [line.split(" | ") for line in (HERE / "README.md").read_text("utf-8").splitlines() if line.startswith("| A")]


def written_tests() -> Counter[str]:
    files = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    functions = [node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    return Counter(name for name in functions if name.startswith("test_"))


def test_the_numbers_follow_each_other() -> None:
    assert [row[0] for row in ROWS] == [f"| A{number:02d}" for number in range(1, len(ROWS) + 1)]


def test_every_row_says_everything() -> None:
    assert {len(row) for row in ROWS} == {5}
    assert [row for row in ROWS if not all(cell.strip(" |") for cell in row)] == []


def test_list_and_tests_name_each_other() -> None:
    assert Counter(name for row in ROWS for name in re.findall(r"`(test_\w+)`", row[4])) == written_tests()


def test_what_stops_it_is_there() -> None:
    named = {name for row in ROWS for name in re.findall(r"\b(?:[a-z_]+/)+[a-z_]+\.py\b", row[3])}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (SOURCE / name).is_file()] == []
