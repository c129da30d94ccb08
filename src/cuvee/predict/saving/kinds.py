"""The keepers of all kinds of members, each registered by its own file."""

from __future__ import annotations

from cuvee.predict.saving import callables, estimators, onnx_files, pretrained, recipes  # noqa: F401
from cuvee.predict.saving.keepers import KEEPERS, Keeper


def keeper_of(kind: str) -> Keeper:
    """The keeper of a kind of member.

    Raises:
        RecipeError: there is none.
    """
    return KEEPERS.get(kind)
