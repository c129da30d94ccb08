"""What a search is measured against: the models that a recipe may merge, one by one, and their plain average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cuvee.errors import RecipeError
from cuvee.recipe import ModelEntry, Recipe, groups
from cuvee.searching.reading import ends
from cuvee.searching.space import Space, fill
from cuvee.types import ModelRef


def recipes_at_ends(space: Space) -> Iterable[Recipe]:
    """The recipes with every hole at its bounds or options, as far as they are recipes."""
    for values in ends(space):
        try:
            yield fill(space, values)
        except RecipeError:
            continue


def parents(space: Space) -> dict[str, Recipe]:
    """A recipe for every model that may be merged, by name; bases that are nothing else are left out.

    A model is merged alone by `passthrough`, which copies it.
    """
    found: dict[str, Recipe] = {}
    for recipe in recipes_at_ends(space):
        for group in groups(recipe):
            for member in group.members:
                if str(member.model) not in found and (member.model != group.base or len(group.members) == 1):
                    found[str(member.model)] = _plain(recipe, "passthrough", (member.model,))
    return found


def uniform(alone: Mapping[str, Recipe]) -> Recipe | None:
    """The plain average of all models that may be merged; `None` where there are fewer than two.

    Args:
        alone: what `parents` gives.
    """
    found = list(alone.values())
    if len(found) < 2:
        return None
    models = tuple(recipe.models[0].model for recipe in found)
    return _plain(found[0], "linear", models, weight=1.0)


def _plain(recipe: Recipe, method: str, models: tuple[ModelRef, ...], **shared: float) -> Recipe:
    entries = tuple(ModelEntry(model, dict(shared)) for model in models)
    kept = {"dtype": recipe.dtype, "out_dtype": recipe.out_dtype, "root": recipe.root}
    return Recipe(method, entries, nested=recipe.nested, **kept)  # type: ignore[arg-type]
