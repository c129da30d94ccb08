"""Recipes inside recipes: where one may stand, what it is called, how deep and how many there may be.

A model of a recipe may be a recipe itself: written in its place, in a file of its own, or as another document of the
same file. It has a name, which is the path of the reference to it and so the key of its random masks: its own `name`;
without one a file's path as written, and for one written in its place its method and a hash of its text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.write import recipe_hash
from cuvee.types import scheme_of

ENDINGS: Final = (".yml", ".yaml")
"""Endings by which the path of a recipe file is told from that of a model."""

RECIPE_KEYS: Final = frozenset({"merge_method", "models", "slices", "modules"})
"""A mapping in a model's place that has one of them, and no `model`, is a recipe."""

PLACING: Final = frozenset({"part", "as", "rename", "without"})
"""Keys beside `model` that say which part of a model is meant."""

_DIGITS: Final = 12


def places(data: Mapping[str, Any]) -> Iterator[tuple[DocumentPath, Any]]:
    """Every place of a recipe that names a model, with what stands there; of what has another structure, nothing."""
    for path, value in _named_places(data):
        inside = value.get("model") if isinstance(value, Mapping) else None
        yield ((*path, "model"), inside) if is_recipe(inside) else (path, value)


def _named_places(data: Mapping[str, Any]) -> Iterator[tuple[DocumentPath, Any]]:
    yield from _places_in(data, ())
    modules = data.get("modules")
    for name, module in modules.items() if isinstance(modules, Mapping) else ():
        if isinstance(module, Mapping):
            yield from _places_in(module, ("modules", name))
    if "base_model" in data:
        yield ("base_model",), data["base_model"]


def _places_in(body: Mapping[str, Any], at: DocumentPath) -> Iterator[tuple[DocumentPath, Any]]:
    yield from _models_of(body, "models", at)
    for path, piece in entries_of(body, "slices", at):
        yield from _models_of(piece, "sources", path)
        if "base_model" in piece:
            yield (*path, "base_model"), piece["base_model"]


def _models_of(body: Mapping[str, Any], key: str, at: DocumentPath) -> Iterator[tuple[DocumentPath, Any]]:
    for path, entry in entries_of(body, key, at):
        if "model" in entry:
            yield (*path, "model"), entry["model"]


def entries_of(body: Mapping[str, Any], key: str, at: DocumentPath) -> Iterator[tuple[DocumentPath, Mapping[str, Any]]]:
    """The mappings in a list under a key, with their paths; of what is no such list, nothing."""
    entries = body.get(key)
    for index, entry in enumerate(entries) if isinstance(entries, list) else ():
        if isinstance(entry, Mapping):
            yield (*at, key, index), entry


def is_recipe(value: Any) -> bool:
    """Whether what stands in a model's place is a recipe, right or wrong."""
    return isinstance(value, Mapping) and "model" not in value and bool(RECIPE_KEYS & value.keys())


def text_of(value: Any) -> str | None:
    """The path that a reference consists of, if it is nothing but a path and what is said of parts."""
    if isinstance(value, Mapping) and "model" in value and value.keys() <= {"model", *PLACING}:
        value = value["model"]
    if isinstance(value, Mapping) and value.keys() == {"path"}:
        value = value["path"]
    return value if isinstance(value, str) else None


def names_a_file(text: str) -> bool:
    """Whether a path is one of a recipe file, as far as its letters tell."""
    return text.lower().endswith(ENDINGS) and scheme_of(text) is None and "\0" not in text


def name_of(recipe: Recipe) -> str:
    """What a recipe inside another one is called."""
    return recipe.name or f"{recipe.method}:{recipe_hash(recipe)[:_DIGITS]}"


def names_in(data: Any) -> Iterator[str]:
    """Every path of a model in a document, those in recipes within it too."""
    if isinstance(data, Mapping):
        for _, value in places(data):
            text = text_of(value)
            yield from [text] if text is not None else names_in(value) if is_recipe(value) else ()


def height(recipe: Recipe) -> int:
    """How many recipes stand inside one another below one."""
    return 1 + max(map(height, recipe.nested.values())) if recipe.nested else 0


def stages(recipe: Recipe) -> int:
    """How many recipes stand inside one, each counted as often as it is written out."""
    return sum(1 + stages(inner) for inner in recipe.nested.values())


def value_at(data: Any, path: DocumentPath) -> Any:
    """What stands at a path of a document."""
    for key in path:
        data = data[key]
    return data


def _in_place(
    value: Any, given: Mapping[DocumentPath, Any], known: Collection[DocumentPath], at: DocumentPath = ()
) -> Any:
    if at in given:
        return given[at]
    if at not in known:
        return value
    if isinstance(value, Mapping):
        return {key: _in_place(entry, given, known, (*at, key)) for key, entry in value.items()}
    return [_in_place(entry, given, known, (*at, index)) for index, entry in enumerate(value)]


def replaced(data: Mapping[str, Any], given: Mapping[DocumentPath, Any]) -> Mapping[str, Any]:
    """The data with other values at some paths."""
    known = {path[:length] for path in given for length in range(len(path))}
    done: Mapping[str, Any] = _in_place(data, given, known)
    return done
