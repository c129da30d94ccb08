"""Numbers, names, ranges and recipes as people read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cuvee.types.words import counted as counted
from cuvee.types.words import in_millions as in_millions

if TYPE_CHECKING:
    from cuvee.recipe import Recipe


def fates(merged: int, copied: int, lost: int, tied: int) -> str:
    """What became of the tensors.

    Example:
        >>> fates(42, 3, 0, 0), fates(42, 3, 0, 1)
        ('42 merged, 3 copied, 0 lost', '42 merged, 3 copied, 0 lost, 1 tied')
    """
    return f"{merged:,} merged, {copied:,} copied, {lost:,} lost" + (f", {tied:,} tied" if tied else "")


def duration(seconds: float) -> str:
    """A span of time.

    Example:
        >>> duration(3.14), duration(125), duration(3725)
        ('3.1 s', '2 min 05 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def setting(value: object) -> str:
    """A parameter's value.

    Example:
        >>> setting(0.5), setting(True), setting((0.1, 1 / 3))
        ('0.5', 'true', '0.1 0.333333')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return " ".join(setting(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def span(layers: tuple[int, int] | None) -> str:
    """A range of layers, both ends included.

    Example:
        >>> span((0, 3)), span((7, 7)), span(None)
        ('0–3', '7', '–')
    """
    if layers is None:
        return "–"
    return str(layers[0]) if layers[0] == layers[1] else f"{layers[0]}–{layers[1]}"


def shortened(value: Any, limit: int = 60) -> str:
    """A JSON value on one line, cut where it grows too long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def summary(recipe: Recipe) -> str:
    """A recipe in a few words, such as `ties of 3 models over ../base`."""
    if recipe.modules:
        what = counted(len(recipe.modules), "module")
    elif recipe.slices:
        models = {source.model for piece in recipe.slices for source in piece.sources}
        what = f"{counted(len(recipe.slices), 'slice')} of {counted(len(models), 'model')}"
    else:
        what = counted(len(recipe.models), "model")
    base = "" if recipe.base_model is None else f" over {recipe.base_model}"
    return f"{recipe.method} of {what}{base}"
