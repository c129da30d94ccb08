"""A recipe without some of its models: what a set of them is worth is what this makes of them.

Weights and other parameters stay as they are; the method decides what leaving a model out means, a normalised mean for
one divides by the weights that are left. The base is no part: it is in every set.

    no model      the base by itself
    one model     what the method makes of it and the base; by itself where the method merges no single model
    several       the recipe with these models
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from cuvee.errors import Fault, RecipeError
from cuvee.recipe import Group, ModelEntry, Module, Recipe, Slice, Source, groups
from cuvee.types import MethodSpec, ModelRef


def models_of(recipe: Recipe, spec: MethodSpec) -> tuple[ModelRef, ...]:
    """Every model that is merged or stacked, in the recipe's order; a recipe inside it is one of them."""
    return tuple(dict.fromkeys(member.model for group in groups(recipe) for member in group.merged(spec)))


def refuse_indivisible(recipe: Recipe, spec: MethodSpec) -> None:
    """Refuse a recipe of whose models there are sets that cannot be merged.

    Raises:
        RecipeError: it is one.
    """
    lists = [tuple(member.model for member in group.merged(spec)) for group in groups(recipe)]
    bases = {group.base for group in groups(recipe)}
    wrong = _why_not(spec, lists) or ("slices of different bases have no base in common" if len(bases) > 1 else "")
    if wrong:
        hint = "explain groups of layers instead, where there is a base (docs/explain.md)"
        raise RecipeError(Fault("wrong-number-of-models", wrong, subject=spec.name, hint=hint))


def _why_not(spec: MethodSpec, lists: list[tuple[ModelRef, ...]]) -> str:
    if spec.name == "passthrough" or any(set(one) != set(lists[0]) for one in lists):
        return "models that are stacked cannot be left out one by one: where one stands there would be no layer"
    if not lists or not lists[0]:
        return f"{spec.name} should merge one model or more besides the base; found none"
    fewest = spec.models[0]
    if fewest > 2 and len(lists[0]) > 2:
        return f"{spec.name} merges {fewest} models or more, so that two of them by themselves have no merge"
    return ""


def base_of(recipe: Recipe, spec: MethodSpec) -> ModelRef | None:
    """The model that is in every set: the base of a method that does not count it among those it merges."""
    bases = {group.base for group in groups(recipe)}
    return next(iter(bases)) if spec.base != "input" and len(bases) == 1 else None


def restricted(recipe: Recipe, spec: MethodSpec, kept: Collection[ModelRef]) -> Recipe | None:
    """The recipe of some of the models.

    Args:
        recipe: the whole recipe.
        spec: its method.
        kept: the models that stay.

    Returns:
        The recipe; `None` for no model where there is no base.
    """
    base = base_of(recipe, spec)
    if not kept:
        return None if base is None else alone(recipe, base)
    if len(kept) == 1 and spec.models[0] > 1:
        return alone(recipe, next(iter(kept)))
    stay = {*kept, *([] if base is None else [base])}
    own = None if spec.base == "input" and recipe.base_model not in stay else recipe.base_model
    modules = {name: replace(module, **_of_models(module, stay)) for name, module in recipe.modules.items()}
    return replace(recipe, **_of_models(recipe, stay), modules=modules, base_model=own)


def _of_models(part: Recipe | Module, stay: Collection[ModelRef]) -> dict[str, Any]:
    models = tuple(entry for entry in part.models if entry.model in stay)
    slices = tuple(
        replace(piece, sources=tuple(source for source in piece.sources if source.model in stay))
        for piece in part.slices
    )
    return {"models": models, "slices": slices}


def whole(recipe: Recipe, model: ModelRef) -> Recipe:
    """One of a recipe's models as it is."""
    return Recipe("passthrough", (ModelEntry(model),), nested=recipe.nested, root=recipe.root)


def alone(recipe: Recipe, model: ModelRef) -> Recipe:
    """One of a recipe's models by itself, in the layers and the dtype that the recipe asks for."""
    shared: dict[str, Any] = {"nested": recipe.nested, "root": recipe.root, "missing": recipe.missing}
    shared |= {"dtype": recipe.dtype, "out_dtype": recipe.out_dtype}
    if recipe.models:
        return Recipe("passthrough", (ModelEntry(model),), **shared)
    found = iter(groups(recipe))
    if recipe.slices:
        return Recipe("passthrough", slices=tuple(_slices(len(recipe.slices), found, model)), **shared)
    modules = {
        name: Module(slices=tuple(_slices(len(module.slices), found, model)))
        if module.slices
        else _as_module(next(found), model)
        for name, module in recipe.modules.items()
    }
    return Recipe("passthrough", modules=modules, **shared)


def _as_module(_group: Group, model: ModelRef) -> Module:
    return Module(models=(ModelEntry(model),))


def _slices(count: int, found: Iterator[Group], model: ModelRef) -> Iterator[Slice]:
    """The slices of one model: the layers that it has there, or as many as the others where it is not listed."""
    for _ in range(count):
        members = next(found).members
        source = next((member.source for member in members if member.model == model), members[0].source)
        assert source is not None, "a slice has layers"
        yield Slice((Source(model, source.layers, listed=source.listed, key=source.key),))
