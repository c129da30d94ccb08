"""The models of a recipe as singles, as a soup, as tasks of a pack and as an ensemble: what `evaluate` can be asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.api.arguments import as_model
from cuvee.errors import Fault, InputError, RecipeError
from cuvee.explaining.subsets import base_of, whole
from cuvee.recipe import ModelEntry, Recipe
from cuvee.types import ModelRef, PredictionAverage

if TYPE_CHECKING:
    from cuvee.packs import PackFacts
    from cuvee.planning import Plan


def short_names(models: Sequence[ModelRef]) -> tuple[str, ...]:
    """The last part of each path, where that tells them apart; else the whole of it."""
    last = [PurePath(one.path).name or str(one) for one in models]
    return tuple(last) if len(set(last)) == len(last) else tuple(map(str, models))


def single(recipe: Recipe, model: ModelRef) -> str | Recipe:
    """One of the recipe's models: its folder, where it has one, else a recipe of it alone."""
    from cuvee.checkpoint.folder import local_path

    plain = model.revision is None and model.adapter is None and recipe.inner(model) is None and "#" not in model.path
    folder = local_path(model.path, recipe.root) if plain else None
    return str(folder) if folder is not None and folder.is_dir() else whole(recipe, model)


def soup_of(recipe: Recipe, models: Sequence[ModelRef]) -> Recipe:
    """The average of some models with equal weights, in the dtype of the recipe."""
    entries = tuple(ModelEntry(model, {"weight": 1.0}) for model in models)
    return Recipe(
        "linear",
        entries,
        nested=recipe.nested,
        root=recipe.root,
        missing=recipe.missing,
        dtype=recipe.dtype,
        out_dtype=recipe.out_dtype,
    )


def ensemble_of(singles: Mapping[str, str | Recipe]) -> PredictionAverage:
    """The mean of what the models predict.

    Raises:
        InputError: one of them lies in no folder.
    """
    if elsewhere := [name for name, one in singles.items() if not isinstance(one, str)]:
        message = f"an ensemble needs models that lie in folders of their own; {elsewhere[0]} does not"
        raise InputError(Fault("model-missing", message, subject=elsewhere[0], hint="merge it into a folder first"))
    return PredictionAverage(tuple(str(one) for one in singles.values()))


def pack_recipe(
    recipe: Recipe, models: Sequence[ModelRef], base: str | os.PathLike[str] | None, masks: str
) -> tuple[Recipe, ModelRef]:
    """The recipe that a pack of the models is made of, and its base.

    Raises:
        RecipeError: no base is known; or TALL masks are asked of a method that works on no deltas.
    """
    spec = methods.get(recipe.method).spec
    own = base_of(recipe, spec) or (recipe.base_model if recipe.base_model not in models else None)
    found = own if base is None else as_model(Path(base).absolute() if Path(base).exists() else base)
    if found is None:
        message = "masks are of what models add to a base, and the recipe names none"
        raise RecipeError(Fault("missing-base", message, subject="base", hint="name it with --base"))
    if masks == "tall":
        if spec.space != "delta":
            message = f"TALL masks are of what a recipe adds to its base; {spec.name} merges weights as they are"
            raise RecipeError(Fault("wrong-value", message, subject="masks", hint="take the masks of EMR"))
        return (recipe if own == found else replace(recipe, base_model=found)), found
    kept: dict[str, Any] = {"nested": recipe.nested, "root": recipe.root, "dtype": recipe.dtype}
    kept["out_dtype"] = recipe.out_dtype
    return Recipe("emr", tuple(ModelEntry(one) for one in models), base_model=found, **kept), found


def task_of(folder: Path, name: str) -> Recipe:
    """One task of a pack as a model."""
    return Recipe("passthrough", (ModelEntry(ModelRef(f"{folder}#{name}")),))


def packed_tasks(facts: PackFacts, models: Sequence[ModelRef]) -> dict[ModelRef, str]:
    """Model → the task of the pack that it became."""
    named = {one.model: one.name for one in facts.tasks}
    in_order = [one.name for one in facts.tasks]
    return {one: named.get(str(one), in_order[i]) for i, one in enumerate(models)}


def parameters(plan: Callable[[Recipe], Plan], model: Any) -> int | None:
    """Parameters of a folder, a recipe's result or an ensemble; `None` where they cannot be told."""
    from cuvee.api.comparing import _parameters

    if isinstance(model, Recipe):
        return sum(step.out.numel for step in plan(model).steps)
    return _parameters(model)
