"""What cards and reports tell of a mixture of experts: its layout, routers, experts and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuvee.reporting.words import counted

METHOD = "moe"
"""What made it, where a merge has its method."""


def method_in(record: Mapping[str, Any], otherwise: str) -> str:
    """The method of a record in which it may not stand.

    Example:
        >>> method_in({"recipe": {}, "mixture": {}}, "?"), method_in({"recipe": {"merge_method": "ties"}}, "?")
        ('moe', 'ties')
    """
    return METHOD if "mixture" in record else str(record["recipe"].get("merge_method", otherwise))


def settings_of(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A mixture's settings and their values, in words; nothing for a merge."""
    if "mixture" not in record:
        return []
    recipe, made = record["recipe"], record["mixture"]
    others = recipe.get("others", "base")
    return [
        ("layout", made["layout"]),
        ("layers with experts", str(made["layers"])),
        ("experts", str(len(experts_of(record)))),
        ("experts that a token is sent to", str(recipe.get("experts_per_token", 2))),
        ("routers", str(recipe.get("gate_mode", "hidden"))),
        ("everything else", "the base's" if others == "base" else "the mean over the experts"),
    ]


def experts_of(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Number, model and prompts of every expert, a shared one last."""
    recipe = record["recipe"]
    shared = [("shared", one) for one in _entries(recipe.get("shared_experts"))]
    chosen = [(str(number), one) for number, one in enumerate(_entries(recipe.get("experts")))]
    return [(number, _model(one), _prompts(one)) for number, one in (*chosen, *shared)]


def _entries(given: Any) -> list[Mapping[str, Any]]:
    """Mappings of a list; a record may have been written by anybody."""
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _model(expert: Mapping[str, Any]) -> str:
    model = expert.get("source_model")
    return str(model.get("path", model) if isinstance(model, Mapping) else model)


def _prompts(expert: Mapping[str, Any]) -> str:
    counts = [(sign, expert.get(f"{sign}_prompts")) for sign in ("positive", "negative")]
    told = [f"{counted(len(found), 'prompt')}, {sign}" for sign, found in counts if isinstance(found, list) and found]
    return "; ".join(told) or "none"
