"""Where text goes: colour where it is wanted, control characters spelled out, streams that may close early."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import BytesIO, TextIOBase, TextIOWrapper
from typing import Final, TextIO, cast

from rich.console import Console, RenderableType
from rich.text import Text

from cuvee.errors import Fault, ResourceError

# Signs that turn the order of letters round, or end a line.
_BIDI: Final = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"},
    **{code: f"\\u{code:04x}" for code in _BIDI},
}


class ResultLost(ResourceError):
    """Standard output cannot be written, for example because it is a file on a full disk."""


def is_live(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody is watching the stream: a terminal that can move its cursor, not a build machine."""
    still = environ.get("TERM") in ("dumb", "unknown") or environ.get("TTY_INTERACTIVE") == "0"
    return stream.isatty() and not still and not environ.get("CI")


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the stream gets colour: `NO_COLOR` forbids it, `FORCE_COLOR` asks for it, a live terminal has it."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or is_live(stream, environ)


def page_for(stream: TextIO) -> TextIO:
    """Paper for a console to draw on as if it were the stream: same encoding, question marks for what that lacks."""
    return TextIOWrapper(BytesIO(), encoding=stream.encoding or "utf-8", errors="replace", newline="")


def text_on(page: TextIO) -> str:
    """Everything drawn so far."""
    page.seek(0)
    return page.read()


def console_for(stream: TextIO, file: TextIO | None = None) -> Console:
    """A console that prints text as it is: no markup, no highlighting, no emoji.

    Args:
        stream: the stream that the text is for.
        file: where it is written, if not to the stream itself.
    """
    colour, live = wants_colour(stream), is_live(stream)
    return Console(
        file=file or stream,
        force_terminal=colour or live,
        force_interactive=live,
        color_system="auto" if colour else None,
        no_color=not colour,
        markup=False,
        highlight=False,
        emoji=False,
    )


def unfailing(stream: TextIO) -> TextIO:
    """The stream for what may be lost: that it cannot be written, because its terminal is gone, stops no work."""
    return cast("TextIO", _Unfailing(stream))


class _Unfailing(TextIOBase):
    """As much of a stream as a console needs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Its number."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write, or do not."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def printable(text: str) -> str:
    r"""The text with control characters spelled out: names in model files cannot steer a terminal.

    Example:
        >>> printable("a\x1b[31mb")
        'a\\x1b[31mb'
    """
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    r"""The same on one line: a name with a line end in it cannot look like a message of ours.

    Example:
        >>> one_line("a\nerror: b")
        'a\\nerror: b'
    """
    return printable(text).replace("\n", "\\n")


def plain(text: str, style: str = "") -> Text:
    """Text for a console, control characters spelled out."""
    return Text(printable(text), style=style)


def drawn(parts: Iterable[RenderableType], stream: TextIO) -> str:
    """What a console makes of the parts for a stream; a string is a line that is never broken.

    Nothing is written: a console that meets a closed stream ends the process by itself.
    """
    page = page_for(stream)
    console = console_for(stream, page)
    for part in parts:
        if isinstance(part, str | Text):
            console.print(Text(one_line(part)) if isinstance(part, str) else part, soft_wrap=True)
        else:
            console.print(part)
    text = text_on(page)
    return text if wants_colour(stream) else "\n".join(line.rstrip() for line in text.split("\n"))


def show(parts: Iterable[RenderableType]) -> None:
    """Print a result on standard output."""
    write_out(drawn(parts, sys.stdout))


def write_out(text: str) -> None:
    """Write to standard output, all of it or until the reader goes away.

    Raises:
        ResultLost: standard output cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        message = f"could not write the result to standard output: {error.strerror or error}"
        raise ResultLost(Fault("io-error", message)) from error


def _discard_stdout() -> None:
    """Let everything still buffered for standard output vanish, or Python complains of it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def tell(message: str | Text) -> None:
    """Print a message on standard error; that it cannot be printed never stops the work."""
    with suppress(OSError, ValueError):
        sys.stderr.write(drawn([message], sys.stderr))
        sys.stderr.flush()


def tell_notes(notes: Iterable[str]) -> None:
    """Print notes on standard error."""
    for note in notes:
        tell(Text.assemble(("note: ", "bold"), one_line(note)))
