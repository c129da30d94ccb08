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

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

__all__ = ["main"]


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        tokens: the words after `cuvee`; those of this process by default.

    Returns:
        The exit code: 0 done, 1 a bug, 2 usage, 3 recipe, 4 inputs, 5 disk or memory, 6 a check failed, 7 the output
        exists, 130 interrupted.
    """
    try:
        from cuvee.cli.app import run

        with suppress(ValueError):  # not the main thread: whoever embeds this looks after signals
            signal.signal(signal.SIGTERM, _as_interrupt)
        return run(sys.argv[1:] if tokens is None else tokens)
    except KeyboardInterrupt:  # before or after the command itself: that one's own end is told by `run`
        sys.stderr.write("interrupted; nothing was written\n")
        return 130


def _as_interrupt(_number: int, _frame: object) -> NoReturn:
    """A request to end is an interrupt: what was begun is cleared away."""
    raise KeyboardInterrupt
