"""What the tests of whole merges share."""

from pathlib import Path

import pytest

from tests.support.yard import Yard, new_yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """Three small models of one shape, `base`, `a` and `b`, in a folder of their own."""
    return new_yard(tmp_path)
