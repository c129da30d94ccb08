"""A recipe in another folder than the one it was written in."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cuvee.checkpoint.folder import local_path
from cuvee.recipe import Module, Recipe
from cuvee.recipe.vocabulary import vocabulary_led_on
from cuvee.types import ModelRef, scheme_of


def moved(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe as it must stand in another folder: relative paths of models that are there lead on from it."""
    start = recipe.root or Path()
    if folder.resolve() == start.resolve():
        return recipe

    def led(ref: ModelRef) -> ModelRef:
        ref = ref if ref.adapter is None else replace(ref, adapter=led(ref.adapter))
        is_path = scheme_of(ref.path) is None and not ref.path.startswith("~") and not Path(ref.path).is_absolute()
        if not is_path or ref.path in recipe.nested or not local_path(ref.path, recipe.root).exists():
            return ref
        return replace(ref, path=os.path.relpath(start.resolve() / ref.path, folder.resolve()))

    nested = {
        name: replace(one, folder=os.path.relpath((one.root or start).resolve(), folder.resolve()))
        for name, one in recipe.nested.items()
    }
    modules = {name: _led_on(module, led) for name, module in recipe.modules.items()}
    base = None if recipe.base_model is None else led(recipe.base_model)
    vocabulary = vocabulary_led_on(recipe, led)
    return replace(_led_on(recipe, led), base_model=base, modules=modules, nested=nested, root=folder, **vocabulary)


_Part = TypeVar("_Part", Recipe, Module)


def _led_on(part: _Part, led: Callable[[ModelRef], ModelRef]) -> _Part:
    """What stands in the lists of a recipe or module, with other references."""

    def of(ref: ModelRef | None) -> ModelRef | None:
        return None if ref is None else led(ref)

    models = tuple(replace(one, model=led(one.model), statistics=of(one.statistics)) for one in part.models)
    slices = tuple(
        replace(
            piece,
            base_model=of(piece.base_model),
            sources=tuple(replace(source, model=led(source.model)) for source in piece.sources),
        )
        for piece in part.slices
    )
    return replace(part, models=models, slices=slices)
