"""Members that are merges: a folder that was written, or a recipe that is merged in memory and never written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cuvee import methods
from cuvee.errors import Fault, RecipeError, UsageError
from cuvee.predict.costs import resident
from cuvee.predict.members import hugging
from cuvee.predict.trained import Trained
from cuvee.recipe import Recipe, faults, from_data, not_yet, parse_file, to_data

_READ: Final = (".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Endings of files beside weights that tokenizers and processors are read from."""


def trained_of(
    recipe: Any, *, name: str | None = None, seed: int = 0, settings: hugging.Settings, **given: Any
) -> Trained:
    """A merge as a member; see `Member.recipe`."""
    if isinstance(recipe, str | Path) and Path(recipe).is_dir():
        made = hugging.trained_of(recipe, name=name, settings=settings, **given)
        return replace(made, kind="recipe", settings={**made.settings, "folder": str(recipe)})
    asked = recipe_of(recipe)
    called = name or asked.name or "merge"
    before = resident()
    with tempfile.TemporaryDirectory(prefix="cuvee-member-") as room:
        model, reader = merged(asked, Path(room), settings, seed)
    made = hugging.trained_of(model, reader, name=called, settings=settings, **given)
    grown = None if before is None else max(0, (resident() or 0) - before)
    return replace(made, kind="recipe", settings={**made.settings, **told(asked), "seed": seed}, loaded=grown)


def recipe_of(given: Any) -> Recipe:
    """A recipe, a mapping with its keys, or the path of its file.

    Raises:
        UsageError: it is none of these.
        RecipeError: its faults.
    """
    if isinstance(given, Mapping):
        recipe = from_data(given, methods.specs())
    elif isinstance(given, str | Path):
        recipe = parse_file(Path(given), methods.specs())
    elif isinstance(given, Recipe):
        recipe = given
    else:
        message = (
            f"a recipe is a mapping with its keys, the path of its file, or a folder; found {type(given).__name__}"
        )
        raise UsageError(Fault("bad-argument", message, subject="recipe"))
    if wrong := [*faults(recipe, methods.specs()), *not_yet(recipe)]:
        raise RecipeError(wrong)
    return recipe


def merged(recipe: Recipe, room: Path, settings: hugging.Settings, seed: int) -> tuple[Any, Any]:
    """The result in memory, and what makes its inputs; files that stand beside it lie in a folder meanwhile."""
    from cuvee.execute.in_memory import load_recipe_result
    from cuvee.families.classifying import modality_of

    model, plan = load_recipe_result(recipe, settings.dtype, settings.device, seed=seed)
    for file in plan.side_files:
        if "/" not in file.name and file.name.endswith(_READ):
            (room / file.name).write_bytes(file.fetched().read_bytes())
    (room / "config.json").write_text(plan.config_text or "{}", "utf-8")
    modality = modality_of(model)
    return model, None if modality is None else hugging.reader_in(room, modality)


def told(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON can say it, and the folder that paths in it start from."""
    return {"recipe": to_data(recipe), "root": None if recipe.root is None else str(recipe.root)}
