"""The examples in the docstrings of members."""

from __future__ import annotations

import doctest

import pytest

from cuvee.combine import known
from cuvee.predict import labels, member
from cuvee.predict.members import words


@pytest.mark.parametrize("module", [known, labels, member, words], ids=lambda module: module.__name__)
def test_examples(module) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed
