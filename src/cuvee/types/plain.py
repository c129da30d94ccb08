"""What a command found, as JSON for programs: the form that `--json` prints and that other commands read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

SCHEMA: Final = 1
"""Version of the JSON objects; it goes up when a key changes its meaning or goes away, not when one is added."""


def answer_text(command: str | None, data: Mapping[str, Any]) -> str:
    """One JSON object, ASCII only, on lines of its own.

    Args:
        command: name of the command.
        data: the keys besides `schema` and `command`.
    """
    return json.dumps({"schema": SCHEMA, "command": command, **as_json(data)}, indent=2, allow_nan=False) + "\n"


def as_json(value: Any) -> Any:
    """Plain data of plain data: paths become text, and `null` stands for NaN and infinity, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, PurePath):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
