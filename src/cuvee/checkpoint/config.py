"""`config.json`, read with limits and kept as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError

CONFIG_LIMIT: Final = 20_000_000
"""Bytes a config.json may have; the largest real ones list tens of thousands of labels."""


@dataclass(frozen=True, slots=True)
class Config:
    """A parsed `config.json` and its text, byte for byte."""

    value: Mapping[str, Any]
    text: str


def read_config(path: Path) -> Config:
    """Read a `config.json`.

    Raises:
        InputError: `bad-config`: too large, not JSON, not an object, or with a key that stands twice.
    """
    try:
        raw = read_capped(path, CONFIG_LIMIT)
        value, repeated = parse_json(raw)
    except ValueError as error:
        raise InputError(_bad(path, f"must be JSON: {error}")) from None
    if not isinstance(value, dict):
        raise InputError(_bad(path, f"must be a JSON object, found `{type(value).__name__}`"))
    if repeated:
        raise InputError([_bad(path, f"`{key:.200}` stands twice", key) for key in repeated[:20]])
    return Config(value, raw.decode("utf-8"))


def _bad(path: Path, what: str, subject: str | None = None) -> Fault:
    hint = "copy the config.json of the original model again"
    return Fault("bad-config", f"{path}: {what}", subject=subject or str(path), hint=hint)
