"""What is explained: a merge by its models, a merge by its layers, an ensemble; and the model of every set of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from cuvee.api.cellars import Stock
from cuvee.errors import Fault, RecipeError, UsageError
from cuvee.explaining.coalitions import Course, course, members
from cuvee.explaining.explanation import Of, Subject
from cuvee.explaining.layer_groups import layer_groups
from cuvee.explaining.subsets import alone, whole
from cuvee.recipe import Recipe, recipe_hash
from cuvee.searching.cellar import Candidate
from cuvee.searching.seat import Build, Seats
from cuvee.types import ModelRef, TensorSpec

if TYPE_CHECKING:
    from cuvee.judging.asking.subject import Subject as Asked

MEAN = "the mean of the single models"
"""What nothing means where there is no base."""


class Game(Protocol):
    """Sets of parts, each of which is a model to be scored."""

    subject: ClassVar[Subject]
    of_what: ClassVar[Of]
    may_fail: ClassVar[bool]
    """Whether a task that cannot be asked is told in a note."""

    @property
    def path(self) -> Course:
        """The sets that are scored."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the parts."""

    @property
    def nothing(self) -> str:
        """What the empty set is."""

    def label(self, coalition: int) -> str:
        """What a set is called in messages."""

    def key(self, coalition: int) -> str | None:
        """What a set's model is known by; `None` for one that is the mean of the single parts."""

    def model(self, coalition: int) -> Any:
        """The model of a set; the next one may take its place."""


@dataclass(frozen=True)
class MergeGame:
    """A merge of some of its models."""

    subject: ClassVar[Subject] = "merge"
    of_what: ClassVar[Of] = "models"
    may_fail: ClassVar[bool] = False

    stock: Stock
    seats: Seats
    models: Sequence[ModelRef]
    path: Course
    recipes: Mapping[int, Recipe | None]

    @property
    def names(self) -> Sequence[str]:
        """The models as the recipe names them."""
        return [str(model) for model in self.models]

    @property
    def nothing(self) -> str:
        """The base, if there is one."""
        return _base_or_mean(self.recipes[0])

    def label(self, coalition: int) -> str:
        """The models of a set."""
        return f"merge of {_listed(self.names, coalition)}" if coalition else self.nothing

    def key(self, coalition: int) -> str | None:
        """The hash of the recipe."""
        recipe = self.recipes[coalition]
        return None if recipe is None else recipe_hash(recipe)

    def model(self, coalition: int) -> Any:
        """The merge."""
        recipe = self.recipes[coalition]
        assert recipe is not None, "a set with a model"
        return self.seats.seated(self.stock.cellar.merged(recipe))


@dataclass(frozen=True)
class LayerGame:
    """A merge with some groups of its tensors, the others those of the base."""

    subject: ClassVar[Subject] = "merge"
    of_what: ClassVar[Of] = "layers"
    may_fail: ClassVar[bool] = False

    seats: Seats
    path: Course
    merged: Candidate
    base: Candidate
    base_name: str
    groups: Mapping[str, tuple[str, ...]]
    keys: tuple[str, str]

    @classmethod
    def of(
        cls, stock: Stock, seats: Seats, recipe: Recipe, base: ModelRef | None, layers: int, budget: int, seed: int
    ) -> LayerGame:
        """The game of a recipe.

        Raises:
            RecipeError: there is no base to put in the place of layers.
            UsageError: there are no such groups, or the budget is too small.
        """
        if base is None:
            message = "layers that are left out have the base's weights, and the recipe names no base"
            raise RecipeError(Fault("missing-base", message, subject="layers", hint="leave --layers out"))
        plain = alone(recipe, base)
        merged, other = stock.cellar.merged(recipe), stock.cellar.merged(plain)
        shapes = [{name: tuple(one.shape) for name, one in each.tensors.items()} for each in (merged, other)]
        if shapes[0] != shapes[1]:
            name = next(n for n in {**shapes[0], **shapes[1]} if shapes[0].get(n) != shapes[1].get(n))
            message = f"the merge and its base {base} should have the same tensors; they differ in {name}"
            raise RecipeError(Fault("shape-mismatch", message, subject="layers", hint="leave --layers out"))
        plan = stock.cellar.plan(recipe)
        specs: dict[str, TensorSpec] = {step.out.name: step.out for step in plan.steps}
        groups = layer_groups(specs, stock.readers(recipe)[plan.donor].config, layers)
        path = course(len(groups), budget, seed)
        return cls(seats, path, merged, other, str(base), groups, (recipe_hash(plain), recipe_hash(recipe)))

    @property
    def names(self) -> Sequence[str]:
        """Names of the groups."""
        return list(self.groups)

    @property
    def nothing(self) -> str:
        """The base."""
        return f"the base, {self.base_name}"

    def label(self, coalition: int) -> str:
        """The groups of a set."""
        return f"merge in {_listed(self.names, coalition)}" if coalition else self.nothing

    def key(self, coalition: int) -> str | None:
        """Of nothing and of all, the recipes' hashes: they are scored once, whatever is explained."""
        return self.keys[0] if coalition == 0 else self.keys[1] if coalition == self.path.whole else f"in {coalition}"

    def model(self, coalition: int) -> Any:
        """The base with some groups from the merge."""
        taken = {tensor for part in members(coalition) for tensor in self.groups[self.names[part]]}
        mixed = {n: self.merged.tensors[n] if n in taken else self.base.tensors[n] for n in self.base.tensors}
        return self.seats.seated(replace(self.merged, tensors=mixed))


@dataclass(frozen=True)
class EnsembleGame:
    """The mean of what some models predict."""

    subject: ClassVar[Subject] = "ensemble"
    of_what: ClassVar[Of] = "models"
    may_fail: ClassVar[bool] = True

    path: Course
    names: Sequence[str]
    subjects: Sequence[Asked]
    config: Any
    base: Asked | None

    @classmethod
    def of(
        cls, stock: Stock, build: Build, recipe: Recipe, models: Sequence[ModelRef], base: ModelRef | None, path: Course
    ) -> EnsembleGame:
        """The game of a recipe's models, all of which are held at once.

        Raises:
            InputError: they cannot be asked as one.
            UsageError: what is built of them is no model.
        """
        from cuvee.judging.asking.agreement import joined

        made = [_subject(stock, build, recipe, model) for model in models]
        together = joined("the ensemble", made)
        own = None if base is None else _subject(stock, build, recipe, base)
        return cls(path, [str(model) for model in models], made, together.config, own)

    @property
    def nothing(self) -> str:
        """The base, if there is one."""
        return MEAN if self.base is None else f"the base, {self.base.label}"

    def label(self, coalition: int) -> str:
        """The models of a set."""
        return f"ensemble of {_listed(self.names, coalition)}" if coalition else self.nothing

    def key(self, coalition: int) -> str | None:
        """Its number."""
        return None if coalition == 0 and self.base is None else f"ensemble {coalition}"

    def model(self, coalition: int) -> Any:
        """The members of a set as one."""
        from cuvee.judging.asking.ensemble import PredictionMean

        if coalition == 0:
            assert self.base is not None, "else it is a mean"
            return self.base.model
        return PredictionMean([self.subjects[part].model for part in members(coalition)], self.config).eval()


def _subject(stock: Stock, build: Build, recipe: Recipe, model: ModelRef) -> Asked:
    """A model as it is, with the tokenizer of its folder; a recipe's result with that of the first folder."""
    import torch

    from cuvee.judging.asking import subject as asking

    one = whole(recipe, model)
    module = build(stock.cellar.merged(one))
    if not isinstance(module, torch.nn.Module):
        message = f"an ensemble should be of torch modules; {model} was made into a {type(module).__name__}"
        raise UsageError(Fault("bad-argument", message, subject="ensemble"))
    folder = stock.readers(one)[0].folder or next((found for found in stock.folders if found is not None), None)
    return asking.Subject(str(model), module) if folder is None else asking.subject_in(folder, module, str(model))


def _base_or_mean(nothing: Recipe | None) -> str:
    if nothing is None:
        return MEAN
    entries = [entry.model for entry in nothing.models]
    entries += [source.model for piece in nothing.slices for source in piece.sources]
    entries += [entry.model for module in nothing.modules.values() for entry in module.models]
    return f"the base, {entries[0]}" if entries else "the base"


def _listed(names: Sequence[str], coalition: int) -> str:
    return ", ".join(names[part] for part in members(coalition))
