"""What a command found, printed as text for people or as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from cuvee.cli.console import show, tell_notes, write_out
from cuvee.cli.options import Common
from cuvee.types.plain import answer_text


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
    """Print one JSON object on standard output."""
    write_out(answer_text(command, data))
