"""Special tokens by role and the template of conversations, wherever the files of a tokenizer keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuvee.tokens.vocabulary import ROLES


def roles(*sources: Mapping[str, Any]) -> dict[str, str]:
    """Role → token; what an earlier source says holds."""
    found: dict[str, str] = {}
    for source in sources:
        for role in ROLES:
            content = content_of(source.get(f"{role}_token"))
            if content is not None:
                found.setdefault(role, content)
    return found


def content_of(value: object) -> str | None:
    """The text of a token that is written as text or as an object with flags."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def further(*sources: Mapping[str, Any]) -> tuple[str, ...]:
    """The additional special tokens, each once."""
    found: dict[str, None] = {}
    for source in sources:
        for key in ("additional_special_tokens", "extra_special_tokens"):
            listed = source.get(key) or ()
            values = listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else ()
            found |= {content: None for value in values if (content := content_of(value)) is not None}
    return tuple(found)


def template_of(files: Mapping[str, str], config: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """The template of conversations: `chat_template.jinja` before `chat_template.json` before the configuration.

    Of several named ones, the one named `default`.
    """
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"]
    for source in (own, config):
        value = source.get("chat_template")
        if isinstance(value, list):
            named = {str(entry.get("name")): entry.get("template") for entry in value if isinstance(entry, dict)}
            value = named.get("default")
        if isinstance(value, str):
            return value
    return None
