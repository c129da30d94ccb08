"""Colour, control characters, encodings."""

from __future__ import annotations

import io

import pytest
from rich.text import Text

from cuvee.cli.console import drawn, is_live, plain, printable, wants_colour


class Stream(io.StringIO):
    """A stream that is, or is not, a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


TERMINAL, PIPE = Stream(True), Stream(False)


@pytest.mark.parametrize(
    ("stream", "environ", "colour"),
    [
        (TERMINAL, {}, True),
        (PIPE, {}, False),
        (TERMINAL, {"NO_COLOR": "1"}, False),
        (TERMINAL, {"NO_COLOR": ""}, True),
        (TERMINAL, {"CI": "true"}, False),
        (TERMINAL, {"TERM": "dumb"}, False),
        (TERMINAL, {"TTY_INTERACTIVE": "0"}, False),
        (PIPE, {"FORCE_COLOR": "1"}, True),
        (TERMINAL, {"CI": "true", "FORCE_COLOR": "1"}, True),
        (PIPE, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (PIPE, {"FORCE_COLOR": ""}, False),
    ],
)
def test_colour_is_where_it_is_wanted(stream: Stream, environ: dict[str, str], colour: bool) -> None:
    assert wants_colour(stream, environ) is colour


@pytest.mark.parametrize(
    ("stream", "environ", "live"),
    [
        (TERMINAL, {}, True),
        (TERMINAL, {"NO_COLOR": "1"}, True),
        (TERMINAL, {"CI": "1"}, False),
        (TERMINAL, {"TERM": "dumb"}, False),
        (TERMINAL, {"TTY_INTERACTIVE": "0"}, False),
        (PIPE, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_bars_are_for_those_who_watch(stream: Stream, environ: dict[str, str], live: bool) -> None:
    assert is_live(stream, environ) is live


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\x07", "\r", "\x9b31m", "\x7f", "\x00"])
def test_control_characters_are_spelled_out(nasty: str) -> None:
    shown = printable(f"a{nasty}b")
    assert shown.isprintable()
    assert shown.startswith("a\\x")


def test_line_ends_and_other_scripts_stay() -> None:
    assert printable("δ̂ᵢ\n\t模型") == "δ̂ᵢ\n\t模型"


def test_markup_is_text() -> None:
    assert drawn(["[bold]weights[/bold] :smile: [/nope]"], PIPE) == "[bold]weights[/bold] :smile: [/nope]\n"


def test_lines_are_never_broken() -> None:
    assert drawn(["x" * 500], PIPE) == "x" * 500 + "\n"
    assert drawn([Text("word " * 100)], PIPE).count("\n") == 1


def test_colour_reaches_only_those_who_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert drawn([plain("a", "bold red")], PIPE) == "a\n"
    assert "\x1b[" in drawn([plain("a", "bold red")], TERMINAL)


def test_what_an_encoding_lacks_becomes_a_question_mark() -> None:
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert drawn(["δ: 5 – 7"], ascii_stream) == "?: 5 ? 7\n"
