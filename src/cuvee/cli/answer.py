"""What a command found, printed as text for people or as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from rich.console import RenderableType

from cuvee.cli.console import show, tell_notes, write_out
from cuvee.cli.options import Common

SCHEMA: Final = 1
"""Version of the JSON objects; it goes up when a key changes its meaning or goes away, not when one is added."""


@dataclass(frozen=True)
class Answer:
    """The end of a command.

    Attributes:
        command: name of the command.
        data: the keys of the JSON object besides `schema` and `command`.
        text: the same for people, made only if it is printed; strings are lines.
        notes: told on standard error when text is printed; `data` holds them for programs.
        exit_code: 0, or 6 where a check said no.
    """

    command: str
    data: Mapping[str, Any]
    text: Iterable[RenderableType]
    notes: tuple[str, ...] = ()
    exit_code: int = 0


def deliver(answer: Answer, common: Common) -> int:
    """Print an answer as the user asked for it.

    Returns:
        The exit code.
    """
    if common.json:
        write_json(answer.command, answer.data)
    else:
        tell_notes(answer.notes)
        show(answer.text)
    return answer.exit_code


def write_json(command: str | None, data: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output, ASCII only, on lines of its own."""
    write_out(json.dumps({"schema": SCHEMA, "command": command, **as_json(data)}, indent=2, allow_nan=False) + "\n")


def as_json(value: Any) -> Any:
    """Plain data of plain data: paths become text, and `null` stands for NaN and infinity, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, PurePath):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
