"""Which rows of the table the tests of this folder show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.peers.twists import TWISTS

MARK = re.compile(r'^@shows\("([a-z0-9-]+)"\)$', re.M)
Test = Callable[..., None]


def shows(_key: str) -> Callable[[Test], Test]:
    """Mark a test as one that shows a row."""
    return lambda test: test


def shown() -> set[str]:
    """The ids of all tests so marked, read from their files, and of the twisted recipes."""
    files = Path(__file__).parent.glob("test_*.py")
    return {key for file in files for key in MARK.findall(file.read_text("utf-8"))} | set(TWISTS)
