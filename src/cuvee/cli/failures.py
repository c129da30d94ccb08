"""What went wrong, told once: as text or as JSON, with the exit code that says what kind of thing it was."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cyclopts import CycloptsError
from rich.text import Text

from cuvee.cli.answer import write_json
from cuvee.cli.console import ResultLost, one_line, tell
from cuvee.cli.options import Common
from cuvee.errors import CuveeError, Fault, Place, is_out_of_memory

MOST_FAULTS: Final = 20
"""Faults told as text; all of them are in the JSON."""

INTERRUPTED: Final = 130
_BUG: Final = 1
_USAGE: Final = 2
_MEMORY: Final = 5


class Interrupted(KeyboardInterrupt):
    """An interrupt of which more is to be said than that nothing was written."""


@dataclass(frozen=True)
class Failure:
    """An error as it is told: exit code, faults, and whether `error: ` stands before those without a place."""

    exit_code: int
    faults: tuple[Mapping[str, Any], ...]
    label: str = "error: "


def report(error: BaseException, command: str | None, common: Common) -> int:
    """Tell of an error.

    Args:
        error: what was raised.
        command: the command that was running, if it is known.
        common: whether JSON or tracebacks are asked for.

    Returns:
        The exit code.
    """
    failure = failure_of(error, command)
    if common.debug:
        tell("".join(traceback.format_exception(error)).rstrip())
    if common.json and not isinstance(error, ResultLost):
        with suppress(ResultLost):  # where standard output cannot be written, text on the other stream must do
            write_json(command, {"error": {"exit_code": failure.exit_code, "faults": failure.faults}})
            return failure.exit_code
    for fault in failure.faults[:MOST_FAULTS]:
        _tell_fault(fault, failure.label)
    if (more := len(failure.faults) - MOST_FAULTS) > 0:
        tell(f"and {more} more (--json lists all)")
    return failure.exit_code


def failure_of(error: BaseException, command: str | None) -> Failure:
    """What an error means for the user."""
    if isinstance(error, CuveeError):
        return Failure(error.exit_code, tuple(_fields(fault) for fault in error.faults))
    if isinstance(error, CycloptsError):
        help_text = f"see `cuvee {f'{command} ' if command else ''}--help`"
        return Failure(_USAGE, (_entry("bad-argument", str(error), hint=help_text),))
    if isinstance(error, KeyboardInterrupt):
        return Failure(INTERRUPTED, (_entry("interrupted", str(error) or "interrupted; nothing was written"),), "")
    if is_out_of_memory(error):
        hint = "use fewer --threads or a smaller --tile, or a machine with more memory"
        return Failure(_MEMORY, (_entry("memory", f"not enough memory{_detail(error)}", hint=hint),))
    message = f"this is a bug in Cuvee: {type(error).__name__}{_detail(error)}"
    return Failure(_BUG, (_entry("bug", message, hint="run again with --debug to see where"),))


def _detail(error: BaseException) -> str:
    """The first line of what an error says."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f": {first}" if first else ""


def _fields(fault: Fault) -> Mapping[str, Any]:
    return _entry(fault.code, fault.message, fault.place, fault.subject, fault.hint)


def _entry(
    code: str, message: str, place: Place | None = None, subject: str | None = None, hint: str | None = None
) -> Mapping[str, Any]:
    """A fault as JSON has it."""
    file, line, column = (place.file, place.line, place.column) if place else (None, None, None)
    where = {"file": file, "line": line, "column": column}
    return {"code": code, "message": message, **where, "subject": subject, "hint": hint}


def _tell_fault(fault: Mapping[str, Any], label: str) -> None:
    """One line `file:line:column: message` or `error: message`, and the hint below it."""
    start = (label, "bold red")
    if fault["file"] is not None:
        start = (one_line(f"{fault['file']}:{fault['line']}:{fault['column']}: "), "bold")
    tell(Text.assemble(start, one_line(fault["message"])))
    if fault["hint"]:
        tell(Text(f"    {one_line(fault['hint'])}", "dim"))
