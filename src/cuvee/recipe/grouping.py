"""What is merged with what: every list of models that becomes one output, with the parameters that hold for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cuvee.recipe.model import DocumentPath, Module, Parameters, Recipe, Slice, Source
from cuvee.types import MethodSpec, ModelRef


@dataclass(frozen=True, slots=True)
class Level:
    """The parameters given at one place, and the path of what they stand under."""

    parameters: Parameters
    path: DocumentPath

    def path_of(self, name: str) -> DocumentPath:
        """Document path of one of the parameters."""
        return (*self.path, "parameters", name)


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a group; `source` is `None` where whole models are merged, `path` leads to its entry."""

    model: ModelRef
    level: Level
    source: Source | None = None

    @property
    def layers(self) -> Sequence[int] | None:
        """The layers in their order; `None` where whole models are merged."""
        return None if self.source is None else self.source.order

    @property
    def path_of_layers(self) -> DocumentPath:
        """Document path of what says the layers."""
        return (*self.path, "layer_range" if self.source is None else self.source.key)

    @property
    def path(self) -> DocumentPath:
        """Document path of the entry."""
        return self.level.path


@dataclass(frozen=True, slots=True)
class Group:
    """Models that are merged into one output: those of `models:`, or the sources of one slice.

    Attributes:
        members: as listed.
        base: the base model that holds here, listed or not.
        levels: parameters shared by the members, innermost first: slice, module, recipe.
        path: document path of the list.
        base_path: document path of the base model, `None` without one.
    """

    members: tuple[Member, ...]
    base: ModelRef | None
    levels: tuple[Level, ...]
    path: DocumentPath
    base_path: DocumentPath | None = None

    @property
    def by_slices(self) -> bool:
        """Whether layer ranges are merged, not whole models."""
        return self.path[-1] == "sources"

    @property
    def base_member(self) -> Member | None:
        """The entry that is the base: the first that names its model."""
        return next((member for member in self.members if member.model == self.base), None)

    def merged(self, spec: MethodSpec) -> tuple[Member, ...]:
        """The members that the method counts and that have per-model parameters.

        For a method with a base of its own those are all but the base. Where a base is an `input`, those are all
        members, and a base that `models:` does not list is appended; a slice never gains a source.
        """
        if spec.base != "input":
            return tuple(member for member in self.members if member is not self.base_member)
        if self.base is None or self.base_path is None or self.by_slices or self.base_member is not None:
            return self.members
        return (*self.members, Member(self.base, Level({}, self.base_path)))


def groups(recipe: Recipe) -> tuple[Group, ...]:
    """Every group of a recipe, in the order of the document."""
    own = Level(recipe.parameters, ())
    found = list(_groups_in(recipe, (own,), (), recipe.base_model))
    for name, module in recipe.modules.items():
        path: DocumentPath = ("modules", name)
        found += _groups_in(module, (Level(module.parameters, path), own), path, recipe.base_model)
    return tuple(found)


def _groups_in(
    part: Recipe | Module, levels: tuple[Level, ...], path: DocumentPath, base: ModelRef | None
) -> Iterator[Group]:
    base_path = None if base is None else ("base_model",)
    if part.models:
        place = (*path, "models")
        entries = enumerate(part.models)
        members = tuple(Member(entry.model, Level(entry.parameters, (*place, i))) for i, entry in entries)
        yield Group(members, base, levels, place, base_path)
    for index, piece in enumerate(part.slices):
        # a slice that is repeated stands once in the document
        yield _slice_group(piece, levels, piece.at or (*path, "slices", index), base)


def _slice_group(piece: Slice, levels: tuple[Level, ...], path: DocumentPath, base: ModelRef | None) -> Group:
    members = tuple(
        Member(source.model, Level(source.parameters, (*path, "sources", i)), source)
        for i, source in enumerate(piece.sources)
    )
    own = Level(piece.parameters, path)
    if piece.base_model is not None:
        return Group(members, piece.base_model, (own, *levels), (*path, "sources"), (*path, "base_model"))
    return Group(members, base, (own, *levels), (*path, "sources"), None if base is None else ("base_model",))


def all_levels(recipe: Recipe) -> Iterator[tuple[Level, bool]]:
    """Every place with parameters, once, and whether it is a single model's entry."""
    yield Level(recipe.parameters, ()), False
    for name, module in recipe.modules.items():
        yield Level(module.parameters, ("modules", name)), False
    for group in groups(recipe):
        if group.by_slices:
            yield group.levels[0], False
        for member in group.members:
            yield member.level, True


def references(recipe: Recipe) -> Iterator[tuple[ModelRef, DocumentPath]]:
    """Every model that a recipe names, each as often as it does, with the document path of the reference."""
    seen: set[DocumentPath] = set()
    for group in groups(recipe):
        for member in group.members:
            yield member.model, (*member.path, "model")
        if group.base is not None and group.base_path is not None and group.base_path not in seen:
            seen.add(group.base_path)
            yield group.base, group.base_path
