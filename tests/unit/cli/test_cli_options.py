"""Integers on the command line: taken as they are written, or refused with the option and what was found."""

from __future__ import annotations

import pytest

from tests.support.command_line import call

OPTIONS = [
    *(("merge", "none.yml", "-o", "x", option) for option in ("--seed", "--threads", "--tile")),
    *(("plan", "none.yml", option) for option in ("--threads", "--tile")),
    ("demo", "--seed"),
    *(
        ("learn", "none.yml", "--data", "x", "-o", "y", o)
        for o in ("--seed", "--steps", "--batch-size", "--max-length")
    ),
]


@pytest.mark.parametrize("words", OPTIONS, ids=lambda words: f"{words[0]} {words[-1]}")
@pytest.mark.parametrize("text", ["1.9", "2.0", "-3.5", "1_000", "1e3", "0x10", "", "two", "[bold]1", "9" * 5000])
def test_what_is_no_integer_is_refused(words: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, *words, text)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f'error: Invalid value for {words[-1]}: it must be an integer, and is "{text[:50]}')
    assert len(ran.err) < 250


@pytest.mark.parametrize("text", ["0", "7", "-3", "+5", " 7 ", "٣", "123456789012345678901234567890"])
def test_what_is_one_is_taken(text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr("cuvee.api.merge", lambda *args, seed, **more: found.append(seed) or args[9])
    call(capsys, "merge", "none.yml", "-o", "x", "--seed", text)
    assert found == [int(text)]


@pytest.mark.parametrize("text", ["0", "-1"])
@pytest.mark.parametrize("option", ["--threads", "--tile"])
def test_one_is_the_least(option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "plan", "none.yml", option, text)
    assert (ran.code, ran.err.splitlines()[0]) == (2, f'error: Invalid value "{text}" for {option}. Must be >= 1.')
