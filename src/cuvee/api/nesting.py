"""Recipes inside a recipe: what they are called, where their results are kept, and the models that all of them name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from cuvee.api.arguments import as_path
from cuvee.errors import Fault, RecipeError, UsageError
from cuvee.recipe import Recipe
from cuvee.recipe.nesting import ENDINGS
from cuvee.recipe.reference import adapters_of
from cuvee.types import ModelRef


def named_inside(recipe: Recipe) -> dict[str, Recipe]:
    """The recipes inside one that have a name of their own, by name, each behind those that it needs.

    Raises:
        RecipeError: two have one name.
    """
    found: dict[str, Recipe] = {}
    for name, inner in recipe.nested.items():
        own = {name: inner} if inner.name and not name.lower().endswith(ENDINGS) else {}
        for other, one in {**named_inside(inner), **own}.items():
            if found.setdefault(other, one) != one:
                message = f"two recipes are called `{other}`, and one folder cannot hold both results"
                raise RecipeError(Fault("bad-stage", message, subject=other, hint="rename one of them"))
    return found


def leaves_of(recipe: Recipe) -> Iterator[tuple[ModelRef, Path | None]]:
    """Every model and adapter that is there, of recipes inside one too, with the folder that its path starts from."""
    from cuvee.planning import referenced

    for ref in referenced(recipe):
        inner = recipe.inner(ref)
        parts = [ref, *adapters_of(ref)]
        yield from [(part, recipe.root) for part in parts] if inner is None else leaves_of(inner)


def files_inside(recipe: Recipe) -> Iterator[Path]:
    """The files that recipes inside one were read from."""
    for inner in recipe.nested.values():
        place = inner.locate(()) if inner.locate else None
        yield from [] if place is None else [Path(place.file)]
        yield from files_inside(inner)


def folder_for(parent: str | os.PathLike[str], name: str) -> Path:
    """Where a result of some name is kept.

    Raises:
        UsageError: the name leads out of the folder.
    """
    inside = PurePath(name)
    if inside.is_absolute() or ".." in inside.parts or name.strip() in ("", ".", "~") or "\0" in name:
        message = f"`{name}` cannot be the name of a folder of results"
        hint = "rename it, or leave --keep-intermediates out"
        raise UsageError(Fault("bad-argument", message, subject="keep_intermediates", hint=hint))
    return as_path(parent, "keep_intermediates", "intermediate results must be kept in a folder") / inside


def nesting_faults(recipe: Recipe, kept: Mapping[str, Path], executor: object) -> list[Fault]:
    """What is wrong with how recipes inside one should be carried out."""
    left = [name for name in recipe.nested if name not in kept]
    if executor != "ray" or not left:
        return []
    message = f"a Ray cluster cannot evaluate recipes inside a recipe; found `{left[0]}`"
    hint = "give each a `name` and add --keep-intermediates, or leave --executor ray out"
    return [Fault("bad-argument", message, subject="executor", hint=hint)]
