"""Where candidates of a search are merged and judged: open models, and modules that take their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cuvee.api.nesting import OpenModels
from cuvee.api.objectives import furnish
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import InputError
from cuvee.recipe import Recipe
from cuvee.searching.cellar import Cellar, needed, room_for, stack_bytes
from cuvee.searching.grading import scores_on
from cuvee.searching.held import Shelf, held
from cuvee.searching.outcome import Held
from cuvee.searching.rows import Draw
from cuvee.searching.seat import Seats
from cuvee.types import ModelRef, Score, Scorer


@dataclass
class Bench:
    """Merges and judges recipes on the rows of the search and of the report."""

    cellar: Cellar
    seats: Seats
    search_rows: Sequence[Draw]
    report_rows: Sequence[Draw]
    metrics: list[str] = field(default_factory=list)

    def judge(self, recipe: Recipe, start: float, stop: float) -> tuple[Score, ...]:
        """The scores on a part of the rows that are searched on."""
        return scores_on(self.seats.seated(self.cellar.merged(recipe)), self.search_rows, start, stop)

    def held(self, name: str, recipe: Recipe) -> Held:
        """The scores on all rows of the search, and on those of the report."""
        model = self.seats.seated(self.cellar.merged(recipe))
        found = Held(name, scores_on(model, self.search_rows), scores_on(model, self.report_rows))
        self.metrics = [score.metric for score in found.search]
        return found


@contextmanager
def open_models(
    recipes: Iterable[Recipe], scorers: Sequence[Scorer], seed: int, limit: int | None, free: int | None
) -> Iterator[tuple[Cellar, Mapping[str, Any]]]:
    """The models of recipes, open and planned with; and what there is to know them by.

    Args:
        recipes: those of a space with every hole at its ends.
        scorers: tasks, which are given what the models' folders hold for them.
        seed: of random masks.
        limit: most memory; half of what is free without it.
        free: bytes of memory that are free, if that is known.

    Raises:
        InputError: models that are missing or do not fit each other, whatever stands in the holes.
        ResourceError: too little memory.
    """
    table = Opened(weights=True, seed=seed, allow_nonfinite=False, kept={})
    try:
        cellar = Cellar(table.of, seed=seed, room=0)
        plans = [cellar.plan(recipe) for recipe in recipes]
        stored = sum(spec.nbytes for reader in table.opened.values() for spec in reader.specs.values())
        stacks = sum(sum(map(stack_bytes, plan.steps)) for plan in plans)
        furnish(scorers, [reader.folder for reader in table.opened.values()])
        room = room_for(needed(plans), stored + stacks, limit, free)
        table.shelf.grow(min(stored, room // 2))
        yield Cellar(table.of, seed=seed, room=max(0, room - stored)), table.facts
    finally:
        for reader in table.opened.values():
            reader.close()


@dataclass
class Opened(OpenModels):
    """Models opened once each for all candidates, their tensors kept while there is room."""

    shelf: Shelf = field(default_factory=lambda: Shelf(0))
    facts: dict[str, Any] = field(default_factory=dict)

    def of(self, recipe: Recipe) -> Sequence[Reader]:
        """The models of a recipe.

        Raises:
            InputError: the faults of all that cannot be opened.
        """
        self.open_leaves(recipe)
        if self.faults:
            faults, self.faults = self.faults, []
            raise InputError(dict.fromkeys(faults))
        return self.readers(recipe)

    def _open(self, ref: ModelRef, root: Path | None, kept: Path | None) -> None:
        super()._open(ref, root, kept)
        reader = self.opened.get((ref, root))
        if reader is not None:
            self.opened[ref, root] = held(reader, self.shelf)
            self.facts[str(ref)] = [dict(file.fixed) for file in reader.input_files]
