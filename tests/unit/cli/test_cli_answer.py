"""Answers as JSON: plain data, strict, stable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cuvee.cli.answer import Answer, deliver, write_json
from cuvee.cli.options import Common
from cuvee.types.plain import SCHEMA, as_json


def test_what_json_cannot_say_is_null() -> None:
    found = as_json({"a": float("nan"), "b": [float("inf"), -float("inf"), 1.5], "c": (True, None, 7)})
    assert found == {"a": None, "b": [None, None, 1.5], "c": [True, None, 7]}


def test_paths_and_keys_become_text() -> None:
    assert as_json({1: Path("a") / "b"}) == {"1": str(Path("a/b"))}


def test_the_object_is_versioned_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    write_json("plan", {"name": "模型 \x1b\x9b \udcff"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out) == {"schema": SCHEMA, "command": "plan", "name": "模型 \x1b\x9b \udcff"}


def test_text_is_made_only_when_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def text():
        raise AssertionError("nobody asked")
        yield

    assert deliver(Answer("plan", {}, text(), notes=("a note",)), Common(json=True)) == 0
    assert capsys.readouterr().err == ""


def test_text_notes_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert deliver(Answer("verify", {}, ["first", "second"], ("careful",), exit_code=6), Common()) == 6
    assert tuple(capsys.readouterr()) == ("first\nsecond\n", "note: careful\n")
