"""The examples in the docstrings of the command line hold."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from cuvee.cli.words import counted, duration, in_millions, setting, shortened
from cuvee.errors import listed


@pytest.mark.parametrize("module", ["words", "console", "progress"])
def test_docstring_examples_hold(module: str) -> None:
    found = doctest.testmod(import_module(f"cuvee.cli.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (119.6, "2 min 00 s"), (3599.7, "1 h 00 min")],
)
def test_durations_never_show_sixty(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_large_numbers_change_their_unit_at_the_limit() -> None:
    assert [in_millions(n) for n in (999_999, 1_000_000, 10**9, 10**12)] == ["999,999", "1.00 M", "1.00 B", "1.00 T"]


def test_lists_are_cut_only_when_they_are_too_long() -> None:
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert listed([]) == ""


def test_irregular_plurals() -> None:
    assert [counted(n, "copy", "copies") for n in (0, 1, 2)] == ["0 copies", "1 copy", "2 copies"]


def test_settings_read_as_in_recipes() -> None:
    assert [setting(v) for v in (False, 3, 0.1, "text", (1.0, 0.25))] == ["false", "3", "0.1", "text", "1 0.25"]


def test_json_values_are_cut_with_a_mark() -> None:
    assert shortened([1, 2]) == "[1, 2]"
    assert shortened("x" * 100, limit=10) == '"xxxxxxxx…'
