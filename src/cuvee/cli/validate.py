"""`cuvee validate`: check a recipe without opening a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common
from cuvee.cli.words import summary

if TYPE_CHECKING:
    from cuvee.recipe import Recipe


def validate(recipe: Path, /, *, common: Common = COMMON) -> int:
    """Check a recipe; no model is opened.

    Every fault is told at once, as file:line:column. What the recipe asks for
    and this version cannot do yet is a fault too.

    For example:

        cuvee validate recipe.yml
        cuvee validate recipe.yml --json

    Args:
        recipe: The recipe file.
        common: How to print.
    """
    from cuvee import api, methods
    from cuvee.errors import RecipeError
    from cuvee.recipe import not_yet, notes

    checked = api.load_recipe(recipe)
    if faults := not_yet(checked):
        raise RecipeError(faults)
    found = notes(checked, methods.specs())
    return deliver(Answer("validate", _data(recipe, checked, found), _text(recipe, checked, found)), common)


def _data(path: Path, recipe: Recipe, notes: tuple[str, ...]) -> dict[str, Any]:
    from cuvee.planning import referenced
    from cuvee.recipe import recipe_hash

    return {
        "recipe": path,
        "ok": True,
        "method": recipe.method,
        "summary": summary(recipe),
        "models": [str(ref) for ref in referenced(recipe)],
        "stages": [inner_summary(name, one) for name, one in recipe.nested.items()],
        "base_model": None if recipe.base_model is None else str(recipe.base_model),
        "recipe_sha256": recipe_hash(recipe),
        "notes": notes,
    }


def _text(path: Path, recipe: Recipe, notes: tuple[str, ...]) -> Iterator[str]:
    yield f"{path}: ok — {summary(recipe)}"
    yield from (f"  {name}: {summary(inner)}" for name, inner in recipe.nested.items())
    yield from (f"note: {note}" for note in notes)


def inner_summary(name: str, recipe: Recipe) -> dict[str, Any]:
    """A recipe inside another one, and those inside it."""
    stages = [inner_summary(*one) for one in recipe.nested.items()]
    return {"name": name, "method": recipe.method, "summary": summary(recipe), "stages": stages}
