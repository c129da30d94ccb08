"""Options that several commands have, said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

from cuvee.cli.words import shortened
from cuvee.errors import Fault, UsageError
from cuvee.types import scheme_of


def _named_or_url(_type: object, tokens: Sequence[Token]) -> Path | str:
    """A path, unless it is empty: that would be the working folder; or a URL's text, in which a path loses a slash."""
    text = tokens[0].value
    if not text:
        raise ValueError("it must be a folder's name, and is empty")
    return Path(text) if scheme_of(text) is None else text


def _named(type_: object, tokens: Sequence[Token]) -> Path:
    """A path of this machine."""
    given = _named_or_url(type_, tokens)
    if isinstance(given, str):
        raise ValueError("it must be a path of this machine, and is a URL; `cuvee push` sends a model from there")
    return given


def _whole(_type: object, tokens: Sequence[Token]) -> int:
    """A decimal integer, as it is written: left to itself, cyclopts rounds `1.9` to 2."""
    text = tokens[0].value
    try:
        if "_" not in text:
            return int(text)
    except ValueError:  # no number, or one of thousands of digits
        pass
    raise ValueError(f"it must be an integer, and is {shortened(text)}")


def batch_size_of(text: str) -> int | None:
    """Rows to a batch; `None` for `auto`.

    Raises:
        UsageError: it is neither `auto` nor a number.
    """
    if text == "auto":
        return None
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise UsageError(Fault("bad-argument", f"--batch-size must be `auto` or a number; found {text[:60]!r}"))


SWITCH: Final = Parameter(negative=(), show_default=False)
"""An option without a value, off unless given."""

MESSAGES: Final = Group("Messages", sort_key=9)

Switch = Annotated[bool, SWITCH]
OUT: Final = Parameter(name=("--out", "-o"), converter=_named)
Out = Annotated[Path, OUT]
FarOut = Annotated[Path | str, Parameter(name=("--out", "-o"), converter=_named_or_url)]
Whole = Annotated[int, Parameter(converter=_whole)]
Seed = Annotated[int, Parameter(converter=_whole)]
Threads = Annotated[int | None, Parameter(converter=_whole, validator=Number(gte=1))]
Tile = Annotated[int | None, Parameter(converter=_whole, validator=Number(gte=1))]
MaxMemory = Annotated[str | None, Parameter(name="--max-memory")]
Device = Annotated[str, Parameter(name="--device")]


@Parameter(name="*", group=MESSAGES)
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    json: Annotated[bool, SWITCH, Parameter(help="Print one JSON object instead of text.")] = False
    debug: Annotated[bool, SWITCH, Parameter(help="Show tracebacks, and what libraries warn of.")] = False


COMMON: Final = Common()
"""Neither given."""
