"""What `--help` and `--version` say, and that it is tidy."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.metadata import version

import pytest

from cuvee.cli.app import VERBS
from tests.support import command_line
from tests.support.command_line import call


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def function_of(verb: str) -> object:
    return getattr(import_module(f"cuvee.cli.{verb}"), verb)


def test_the_verbs_are_those_promised() -> None:
    assert tuple(verb.name for verb in VERBS) == command_line.VERBS


def test_the_overview_names_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "--help")
    assert (ran.code, ran.err) == (0, "")
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", ran.out).split())
    for verb in VERBS:
        assert f"{verb.name} {verb.summary}" in words


def test_without_words_the_overview_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys) == call(capsys, "--help")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_summary_is_the_first_line_of_the_verbs_own_help(verb) -> None:
    assert inspect.getdoc(function_of(verb.name)).splitlines()[0] == verb.summary


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_help_has_an_example_that_starts_with_the_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, verb, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "For example:" in ran.out
    assert re.search(rf"^    cuvee {verb}\b", ran.out, re.MULTILINE)


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_verb_offers_json_and_debug(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, verb, "--help").out
    assert "--json " in out
    assert "--debug " in out
    assert "--no-json" not in out
    assert "--common" not in out


@pytest.mark.parametrize("words", [(), *((verb,) for verb in command_line.VERBS)])
def test_help_fits_into_eighty_columns(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    lines = call(capsys, *words, "--help").out.splitlines()
    assert max(map(len, lines)) == 80  # the frames are exactly as wide as the terminal
    assert not [line for line in lines if "\x1b" in line]


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_argument_is_explained(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A frame's line that starts an option has words after its name and type."""
    out = call(capsys, verb, "--help").out
    options = [line.strip("│ ") for line in out.splitlines() if re.match(r"│ +\*? *(--\w|[A-Z]+  )", line)]
    assert options
    for option in options:
        assert re.search(r"[a-z]+ [a-zA-Z]+", option), option


def test_version_is_the_packages_own(capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "--version")
    assert (ran.code, ran.out, ran.err) == (0, f"cuvee {version('cuvee')}\n", "")
