"""What errors become: exit code, text, JSON."""

from __future__ import annotations

import json

import pytest

from cuvee.cli.failures import MOST_FAULTS, Interrupted, failure_of, report
from cuvee.cli.options import Common
from cuvee.errors import (
    CheckFailed,
    CuveeError,
    Fault,
    InputError,
    OutputExists,
    Place,
    RecipeError,
    ResourceError,
    UsageError,
)

FAULT = Fault("bad-argument", "should be this, found that", hint="do something else")
PLACED = Fault("unknown-key", "no key `modle`", Place("dir/r.yml", 7, 3), "modle", "did you mean `model`?")


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UsageError, 2), (RecipeError, 3), (InputError, 4), (ResourceError, 5), (CheckFailed, 6), (OutputExists, 7)],
)
def test_the_class_gives_the_exit_code(kind: type[CuveeError], code: int) -> None:
    assert report(kind(FAULT), "plan", Common()) == code


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (MemoryError(), 5, "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1e12 bytes"), 5, "memory"),
        (RuntimeError("shapes differ"), 1, "bug"),
        (ZeroDivisionError("division by zero"), 1, "bug"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Interrupted("interrupted; half a demo"), 130, "interrupted"),
    ],
)
def test_other_errors(error: BaseException, code: int, reason: str) -> None:
    failure = failure_of(error, "merge")
    assert failure.exit_code == code
    assert [fault["code"] for fault in failure.faults] == [reason]


def test_a_fault_in_a_file_starts_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    report(RecipeError([PLACED, FAULT]), "validate", Common())
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "dir/r.yml:7:3: no key `modle`\n    did you mean `model`?\n"
        "error: should be this, found that\n    do something else\n"
    )


def test_twenty_faults_are_told_and_the_rest_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert MOST_FAULTS == 20
    many = [Fault("shape-mismatch", f"tensor {i}") for i in range(MOST_FAULTS + 3)]
    report(InputError(many), "plan", Common())
    err = capsys.readouterr().err.splitlines()
    assert err[-2:] == [f"error: tensor {MOST_FAULTS - 1}", "and 3 more (--json lists all)"]
    assert len(err) == MOST_FAULTS + 1


def test_exactly_twenty_faults_need_no_count(capsys: pytest.CaptureFixture[str]) -> None:
    report(InputError([Fault("shape-mismatch", "t")] * MOST_FAULTS), "plan", Common())
    assert "more" not in capsys.readouterr().err


def test_json_has_every_fault_and_nothing_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    many = [PLACED, *(Fault("shape-mismatch", f"tensor {i}") for i in range(30))]
    assert report(InputError(many), "plan", Common(json=True)) == 4
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert {k: found[k] for k in ("schema", "command")} == {"schema": 1, "command": "plan"}
    assert found["error"]["exit_code"] == 4
    assert len(found["error"]["faults"]) == 31
    assert found["error"]["faults"][0] == {
        "code": "unknown-key",
        "message": "no key `modle`",
        "file": "dir/r.yml",
        "line": 7,
        "column": 3,
        "subject": "modle",
        "hint": "did you mean `model`?",
    }
    assert found["error"]["faults"][1]["file"] is None


def test_a_bug_says_so_in_one_line_and_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ValueError("first line\nsecond line"), "merge", Common()) == 1
    assert capsys.readouterr().err == (
        "error: this is a bug in Cuvee: ValueError: first line\n    run again with --debug to see where\n"
    )


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("error", [ValueError("oh"), InputError(FAULT)])
def test_tracebacks_are_for_debug(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    report(raised(error), "merge", Common())
    assert "Traceback" not in capsys.readouterr().err
    report(raised(error), "merge", Common(debug=True))
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "in raised" in err


def test_an_interrupt_is_no_error_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt(), "merge", Common()) == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


def test_hostile_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(InputError(Fault("bad-header", "tensor \x1b]0;owned\x07", hint="\x1b[2J")), "plan", Common())
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "tensor \\x1b]0;owned\\x07" in err
