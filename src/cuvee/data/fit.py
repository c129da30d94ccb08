"""Whether a row fits a model: its vocabulary and its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cuvee.errors import listed


def foreign_token(ids: Sequence[int], vocabulary: int) -> str | None:
    """What to say of token ids of which one is outside a vocabulary; `None` where none is.

    Args:
        ids: token ids, 0 or more each.
        vocabulary: rows of the embedding.
    """
    if not ids or max(ids) < vocabulary:
        return None
    return f"token {max(ids)} is outside the model's vocabulary of {vocabulary}: ids should be below {vocabulary}"


def class_number(label: int | str | None, classes: Mapping[str, int]) -> int | None:
    """The number of the class that a label names or is; `None` where it is none of the model's.

    Args:
        label: a number or a name.
        classes: number of every class by name.
    """
    number = classes.get(label) if isinstance(label, str) else label
    return number if number in classes.values() else None


def foreign_label(label: int | str | None, classes: Mapping[str, int]) -> str:
    """What to say of a label that is no class of the model."""
    known = listed(sorted(classes, key=classes.__getitem__), 8)
    return f"`label` should be one of the model's {len(classes)} classes ({known}) or its number; found {label!r:.60}"
