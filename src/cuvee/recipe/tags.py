"""How the values of a recipe are written: the tags by which pydantic tells the forms of one key apart."""

from __future__ import annotations

from typing import Any, Final

from cuvee.recipe.scaling_schema import LARV, LINES

# Tags of union members; pydantic puts them into error locations, from where `structure` takes them out again.
TEXT: Final = "<text>"
LIST: Final = "<list>"
MAPPING: Final = "<mapping>"
SCALAR: Final = "<scalar>"
GRADIENT: Final = "<gradient>"
BRANCHES: Final = "<branches>"
MODEL_TOKEN: Final = "<model_token>"
ZERO: Final = "<zero>"
TAGS: Final = frozenset({TEXT, LIST, MAPPING, SCALAR, GRADIENT, BRANCHES, MODEL_TOKEN, ZERO, LINES, LARV})


def kind_of_model(value: Any) -> str | None:
    """Whether a model reference is written as text or as a mapping; adapters may be listed."""
    return TEXT if isinstance(value, str) else {"dict": MAPPING, "list": LIST}.get(type(value).__name__)


def kind_of_setting(value: Any) -> str | None:
    """How a parameter is written."""
    if isinstance(value, list):
        return BRANCHES if any(isinstance(entry, dict) for entry in value) else GRADIENT
    return MAPPING if isinstance(value, dict) else kind_of_plain(value)


def kind_of_plain(value: Any) -> str | None:
    """How a value without filters is written."""
    if isinstance(value, list):
        return GRADIENT
    return SCALAR if isinstance(value, bool | int | float | str) else None


def kind_of_token_source(value: Any) -> str | None:
    """How the source of a token's embedding is written."""
    if isinstance(value, dict) and "kind" in value:
        return {"model_token": MODEL_TOKEN, "zero": ZERO}.get(str(value["kind"]))
    return kind_of_model(value)
