"""Open the models of a recipe; recipes inside it are evaluated while they are read, or read where they were kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.checkpoint.renamed import placed
from cuvee.errors import Fault, InputError, Place
from cuvee.execute.agreeing import with_agreement
from cuvee.execute.templating import with_chat_template
from cuvee.execute.vocabulary import with_one_vocabulary
from cuvee.recipe import Recipe, recipe_hash
from cuvee.recipe.grouping import references
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader


@dataclass
class OpenModels:
    """Models opened once each, whichever recipes name them.

    Attributes:
        weights: `False` when only headers will be needed.
        seed: seed of random masks.
        allow_nonfinite: let NaN and infinity pass.
        kept: folders of results that were merged before, by name.
    """

    weights: bool
    seed: int
    allow_nonfinite: bool
    kept: Mapping[str, Path]
    opened: dict[tuple[ModelRef, Path | None], Reader] = field(default_factory=dict)
    results: dict[tuple[str, str, Path | None], Reader] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def open_leaves(self, recipe: Recipe) -> None:
        """Open every model that is there; what cannot be opened is noted."""
        from cuvee.planning import referenced

        for ref in referenced(recipe):
            inner = recipe.inner(ref)
            if inner is not None and ref.path not in self.kept:
                self.open_leaves(inner)
            elif (ref.whole, recipe.root) not in self.opened:
                self._open(ref.whole, recipe.root, self.kept.get(ref.path) if inner is not None else None)

    def _open(self, ref: ModelRef, root: Path | None, kept: Path | None) -> None:
        from cuvee.checkpoint import open_checkpoint

        at = ref if kept is None else ModelRef(str(kept.absolute()))
        try:
            self.opened[ref, root] = open_checkpoint(at, root, hub_download=self.weights)
        except InputError as error:
            self.faults += error.faults

    def readers(self, recipe: Recipe) -> list[Reader]:
        """The models of a recipe in the order that plans have them, as the recipe has them."""
        from cuvee.planning import referenced

        refs = referenced(recipe)
        opened = [self._reader(ref, recipe) for ref in refs]
        return as_asked(recipe, opened, lambda ref: self._further(ref, recipe), fetch=self.weights)

    def _further(self, ref: ModelRef, recipe: Recipe) -> Reader:
        """A model that the recipe names for its tokenizer only.

        Raises:
            InputError: it cannot be opened.
        """
        from cuvee.tokens.alone import open_giver

        key = ref, recipe.root
        if key not in self.opened:
            self.opened[key] = open_giver(ref, recipe.root, hub_download=False)
        return self.opened[key]

    def _reader(self, ref: ModelRef, recipe: Recipe) -> Reader:
        inner = recipe.inner(ref)
        if inner is None or ref.path in self.kept:
            return self.opened[ref.whole, recipe.root]
        key = ref.path, recipe_hash(inner), inner.root
        if key not in self.results:
            self.results[key] = self._result(ref, inner)
        return self.results[key]

    def _result(self, ref: ModelRef, inner: Recipe) -> Reader:
        """A recipe's result, to be evaluated."""
        from cuvee.execute.settling import settle
        from cuvee.execute.virtual import VirtualReader, with_name
        from cuvee.planning import Workers, bind
        from cuvee.planning.room import PASS_TILE

        method = methods.get(inner.method)
        models = self.readers(inner)
        plan = with_name(ref.path, lambda: bind(inner, models, method.spec))
        if self.weights:
            told: dict[str, Any] = {"seed": self.seed, "allow_nonfinite": self.allow_nonfinite}
            plan = settle(plan, models, method, workers=Workers(1, PASS_TILE), **told)
        return VirtualReader(ref.path, plan, models, method, seed=self.seed, allow_nonfinite=self.allow_nonfinite)


def as_asked(
    recipe: Recipe, readers: Sequence[Reader], further: Callable[[ModelRef], Reader], *, fetch: bool = True
) -> list[Reader]:
    """The models of a recipe with the names, the vocabulary and the chat template that it asks for.

    Args:
        recipe: the recipe.
        readers: what `planning.referenced` gives of it, opened.
        further: opens a model that is named for its tokenizer only.
        fetch: whether tokenizers may be fetched from afar to be compared where nothing is asked of them.

    Raises:
        InputError: `part-mismatch`, and what does not fit of tokenizers.
        RecipeError: tokens, or a model, that are named and not there.
    """
    from cuvee.planning import models_of, referenced

    refs, count = referenced(recipe), len(models_of(recipe))
    found = with_agreement(recipe, refs, placed(refs, readers, _places_in(recipe)), fetch=fetch)
    shown = with_one_vocabulary(recipe, refs[:count], found[:count], further)
    return [*with_chat_template(recipe, shown, found[:count]), *found[count:]]


def _places_in(recipe: Recipe) -> Callable[[ModelRef, str], Place | None]:
    """From a reference and a key of it to where the recipe first says so."""

    def where(ref: ModelRef, key: str) -> Place | None:
        path = next((path for named, path in references(recipe) if named == ref), ())
        return recipe.locate((*path, key)) if recipe.locate else None

    return where


@contextmanager
def opened_for(
    recipe: Recipe,
    *,
    weights: bool = True,
    seed: int = 0,
    allow_nonfinite: bool = False,
    kept: Mapping[str, Path] | None = None,
) -> Iterator[list[Reader]]:
    """Open the models of a recipe, headers only, and close them afterwards.

    Args:
        recipe: the recipe.
        weights: `False` when only headers will be needed: nothing large is fetched from the hub.
        seed: seed of random masks in recipes inside it.
        allow_nonfinite: let NaN and infinity pass there.
        kept: folders of recipes inside it that were merged before, by name.

    Raises:
        InputError: the faults of all models that cannot be opened; models of a recipe inside it that do not fit.
        RecipeError: a recipe inside it asks for what its models do not have.
    """
    table = OpenModels(weights, seed, allow_nonfinite, kept or {})
    try:
        table.open_leaves(recipe)
        if table.faults:
            raise InputError(dict.fromkeys(table.faults))
        yield table.readers(recipe)
    finally:
        for reader in table.opened.values():
            reader.close()
