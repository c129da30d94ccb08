"""Models with an adapter, for whoever runs models: the recipe of one, and the model ready, its tokenizer beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.adapter import is_adapter
from cuvee.checkpoint.contents import choose_weights
from cuvee.checkpoint.folder import local_path
from cuvee.errors import Fault, UsageError
from cuvee.recipe import ModelEntry, Recipe
from cuvee.recipe.reference import read_reference
from cuvee.types import ModelRef, scheme_of

READ: Final = (".json", ".txt", ".model", ".tiktoken", ".jinja")
"""Endings of files beside a model that tell how it is given texts and pictures."""


def adapted_recipe(given: object, root: Path | None = None) -> Recipe | None:
    """The recipe of a model with an adapter applied.

    Args:
        given: `base+adapter`, or the folder of an adapter, which stands on the base that it names; or its recipe.
        root: folder that relative paths start from; `None` is the working folder.

    Returns:
        `None` for anything else: a folder, a recipe's file, a hub id, a model in memory.

    Raises:
        UsageError: a text with a `+` that cannot be split.
    """
    if isinstance(given, Recipe):
        return given
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text or scheme_of(text) is not None:
        return None
    path = local_path(text, root)
    if os.path.lexists(path):
        return alone(ModelRef(text), root) if _holds_an_adapter(path) else None
    if "+" not in text:
        return None
    try:
        ref = read_reference(text, root)
    except ValueError as error:
        raise UsageError(Fault("bad-argument", f"a model should be {error}", subject="models")) from None
    return None if ref.adapter is None else alone(ref, root)


def alone(ref: ModelRef, root: Path | None = None) -> Recipe:
    """The recipe that passes one model through."""
    return Recipe("passthrough", (ModelEntry(ref),), name=str(ref), root=root)


def check_readable(recipe: Recipe) -> None:
    """Refuse at once what cannot be opened, or does not fit."""
    from cuvee.execute.opening import opened_for

    with opened_for(recipe):
        pass


def load_adapted(recipe: Recipe, room: Path, *, dtype: str | None, device: str) -> Any:
    """The model of a recipe, ready; what stands beside it (tokenizer, configuration) is put into a folder.

    Args:
        recipe: such a recipe, or any other.
        room: an empty folder.
        dtype: torch name of the dtype to hold it in; its own without it.
        device: torch's name of a device.

    Raises:
        InputError: base or adapter cannot be read, do not fit, or are nothing that transformers knows.
    """
    from cuvee.execute.in_memory import load_recipe_result

    model, plan = load_recipe_result(recipe, dtype, device)
    for file in plan.side_files:
        if "/" not in file.name and file.name.endswith(READ):
            (room / file.name).write_bytes(file.fetched().read_bytes())
    (room / "config.json").write_text(plan.config_text or "{}", "utf-8")
    return model


def _holds_an_adapter(folder: Path) -> bool:
    return folder.is_dir() and is_adapter(folder) and choose_weights(path.name for path in folder.iterdir()) is None
