"""The holes of a recipe as data, and a recipe from values for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cuvee import methods
from cuvee.errors import Fault, Place, UsageError, nearest
from cuvee.recipe import Recipe
from cuvee.recipe.document import Document
from cuvee.recipe.findings import Places
from cuvee.recipe.model import DocumentPath
from cuvee.recipe.nesting import replaced
from cuvee.recipe.reading import Reading
from cuvee.searching.flow import Flow
from cuvee.searching.holes import Hole, Values

Form = Literal["value", "gradient", "filters", "include", "flow"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where values stand in a recipe.

    Attributes:
        path: in the document.
        form: the value itself; a list spread over the layers; values by parts of tensors' names; whether a model is
            in the list; or slices.
        names: the holes whose values stand there, in order.
        filters: parts of tensors' names, one for each of `names`.
        flow: the layers, for slices.
    """

    path: DocumentPath
    form: Form
    names: tuple[str, ...]
    filters: tuple[str, ...] = ()
    flow: Flow | None = None

    def written(self, values: Values) -> Any:
        """What stands there."""
        own = [values[name] for name in self.names]
        if self.form == "flow" and self.flow is not None:
            return self.flow.slices(values)
        if self.form == "filters":
            return [{"filter": part, "value": value} for part, value in zip(self.filters, own, strict=True)]
        return own if self.form == "gradient" else own[0]


@dataclass(frozen=True)
class Space:
    """A recipe with holes.

    Attributes:
        data: the recipe as plain data, holes as they are written.
        holes: what is free, each once, in the order of the recipe.
        spots: where their values stand.
        root: folder that relative model paths start from; the working folder without it.
        positions: where everything stands in the file.
        file: the recipe's file, if it was read from one.
    """

    data: Mapping[str, Any]
    holes: tuple[Hole, ...]
    spots: tuple[Spot, ...]
    root: Path | None = None
    positions: Places | None = field(default=None, compare=False, repr=False)
    file: Path | None = field(default=None, compare=False)

    @property
    def start(self) -> dict[str, Any]:
        """The values to begin with."""
        return {hole.name: hole.first for hole in self.holes}

    @property
    def switches(self) -> tuple[str, ...]:
        """The holes that say which models are included."""
        return tuple(name for spot in self.spots if spot.form == "include" for name in spot.names)

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the recipe with its holes."""
        return hashlib.sha256(json.dumps(self.data, sort_keys=True).encode()).hexdigest()

    def hole(self, name: str) -> Hole:
        """The hole of a name."""
        return next(hole for hole in self.holes if hole.name == name)

    def values(self, units: Sequence[float]) -> dict[str, Any]:
        """Values from places in the unit interval, one for each hole."""
        return {hole.name: hole.at(u) for hole, u in zip(self.holes, units, strict=True)}


def fill(space: Space, values: Values) -> Recipe:
    """The recipe with values in its holes.

    Where `merge_method` is a hole, parameters that the chosen method does not have are left out, and so is a
    `base_model` that would only be one more model to it.

    Args:
        space: the recipe with holes.
        values: one for every hole.

    Raises:
        UsageError: a value for no hole, or a hole without a value.
        RecipeError: what the values come to is no recipe: two few models, say.
    """
    if wrong := list(_stray(space, values)):
        raise UsageError(wrong)
    given = {spot.path: spot.written(values) for spot in space.spots}
    data, kept = _included(replaced(space.data, given), space.spots)
    if any(spot.path == ("merge_method",) for spot in space.spots):
        data = _fitted(data)
    positions = None if space.positions is None else _Kept(space.positions, kept)
    return Reading(methods.specs(), space.file).finished([Document(data, positions)], space.root)


def _stray(space: Space, values: Values) -> Iterator[Fault]:
    names = [hole.name for hole in space.holes]
    for name in values:
        if name not in names:
            message = f"there is no hole `{name}`"
            yield Fault("bad-argument", message, subject=name, hint=nearest(name, names))
    for name in names:
        if name not in values:
            yield Fault("bad-argument", f"the hole `{name}` should have a value; found none", subject=name)


def _included(
    data: Mapping[str, Any], spots: Sequence[Spot]
) -> tuple[dict[str, Any], dict[DocumentPath, tuple[int, ...]]]:
    """The data without models that are left out, and the numbers of those that stay, by list."""
    lists = {spot.path[:-2] for spot in spots if spot.form == "include"}
    kept: dict[DocumentPath, tuple[int, ...]] = {}

    def walk(value: Any, at: DocumentPath) -> Any:
        if at in lists:
            kept[at] = tuple(i for i, entry in enumerate(value) if entry.get("include", True))
            return [{k: v for k, v in value[i].items() if k != "include"} for i in kept[at]]
        if isinstance(value, Mapping) and any(path[: len(at)] == at for path in lists):
            return {key: walk(entry, (*at, key)) for key, entry in value.items()}
        return value

    return dict(walk(data, ())), kept


def _fitted(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data without what the chosen method has no use for; a method that is none is refused later."""
    spec = methods.specs().get(str(data.get("merge_method")))
    if spec is None:
        return dict(data)
    known = {param.name for param in spec.params if not param.ignored}

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                k: _of(v, known) if k == "parameters" and isinstance(v, Mapping) else walk(v) for k, v in value.items()
            }
        return [walk(entry) for entry in value] if isinstance(value, list) else value

    return {k: v for k, v in walk(data).items() if not (k == "base_model" and spec.base == "input")}


def _of(parameters: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in known}


@dataclass(frozen=True, slots=True)
class _Kept:
    """The places of a document of which some list entries have been left out."""

    outer: Places
    kept: Mapping[DocumentPath, tuple[int, ...]]

    @property
    def file(self) -> str:
        """The file's name."""
        return self.outer.file

    def __call__(self, path: DocumentPath) -> Place | None:
        """Place of the value at a path."""
        return self.outer(self._before(path))

    def key(self, path: DocumentPath) -> Place | None:
        """Place of the key at a path."""
        return self.outer.key(self._before(path))

    def _before(self, path: DocumentPath) -> DocumentPath:
        found: DocumentPath = ()
        for step in path:
            numbers = self.kept.get(found)
            is_number = isinstance(step, int) and numbers is not None and step < len(numbers)
            found = (*found, numbers[int(step)] if is_number and numbers is not None else step)
        return found
