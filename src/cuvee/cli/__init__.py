"""The command line: one file per command, and what they share.

    app         the commands by name, and running one of them
    options     options that several commands have
    answer      what a command found, printed as text or as JSON
    failures    what went wrong, printed as text or as JSON, and the exit code
    console     where text goes: colour, width, and streams that close early
    progress    bars on a terminal, plain lines elsewhere
    outlook     what a merge would do and cost, for `plan` and `merge --dry-run`
    tables, words, plan_text     how results look

Only this package prints: results on standard output, progress and messages on standard error. No command's module, and
none of what the commands stand on, is imported before that command is called.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

__all__ = ["main", "program"]

_ENDS: Final = ("SIGTERM", "SIGHUP")
"""Signals that ask a program to end; not every system has both."""

_GARBAGE: Final = (200_000, 20, 100)
"""Objects made between two searches for garbage. Python's own 700 find none while libraries are loaded, a million
objects that all stay, and take a third as long again."""


def program() -> NoReturn:
    """The command `cuvee` as a process of its own: one command, and its exit code.

    What was registered with `atexit` is done; but nobody takes apart a million objects whose memory the system takes
    back at once, which would take up to a second.
    """
    gc.set_threshold(*_GARBAGE)
    code = main()
    if threading.active_count() > 1:  # of a library's: Python's own way to end waits for those it must
        sys.exit(code)
    atexit._run_exitfuncs()
    _let_go_of_streams()
    os._exit(code)


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        tokens: the words after `cuvee`; those of this process by default.

    Returns:
        The exit code: 0 done, 1 a bug, 2 usage, 3 recipe, 4 inputs, 5 disk or memory, 6 a check failed, 7 the output
        exists, 130 interrupted.
    """
    _open_streams()
    try:
        with _ends_as_interrupts():
            from cuvee.cli.app import run

            return run(sys.argv[1:] if tokens is None else tokens)
    except KeyboardInterrupt:  # before or after the command itself: that one's own end is told by `run`
        with suppress(OSError, ValueError):
            sys.stderr.write("interrupted; nothing was written\n")
        return 130
    finally:
        _let_go_of_streams()


def _let_go_of_streams() -> None:
    """What a stream could not write is let go, or Python tries once more when it ends, and exits with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def _open_streams() -> None:
    """Put nowhere in the place of streams that were closed before the start, as `>&-` does.

    Left alone, the next file that is opened takes their number, and is what libraries then print into.
    """
    with suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


@contextmanager
def _ends_as_interrupts() -> Iterator[None]:
    """While a command runs, a request to end is an interrupt: what was begun is cleared away.

    What was ignored from the start, as `nohup` has it, stays ignored; a handler that is not Python's stays in place.
    """
    numbers = [getattr(signal, name) for name in _ENDS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]

    def interrupt(_number: int, _frame: object) -> NoReturn:
        for number in heeded:  # a terminal that goes away says so twice, and the second must not stop the clearing away
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with suppress(ValueError):  # not the main thread: whoever embeds this looks after signals
        for number in heeded:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        with suppress(ValueError):
            for number in heeded:
                signal.signal(number, before[number])
