"""The base of every mapping that is read from YAML, and the errors of its own checks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


def fault(code: str, message: str, hint: str | None = None) -> PydanticCustomError:
    """An error with our own reason code; the message completes "`key` …"."""
    return PydanticCustomError(code, "{message}", {"message": message, "hint": hint})


class Item(BaseModel):
    """Base of every mapping in a recipe or a task."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
