"""Models opened once for many merges in memory: those of a search, and those of whoever asks what parts are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import CuveeError, InputError
from cuvee.execute.opening import OpenModels
from cuvee.planning import Plan
from cuvee.recipe import Recipe
from cuvee.searching.cellar import Cellar, needed, room_for, stack_bytes
from cuvee.searching.held import Shelf, held
from cuvee.types import ModelRef


@dataclass(frozen=True, slots=True)
class Stock:
    """Models that are open.

    Attributes:
        cellar: merges them.
        plans: of the recipes they were opened for.
        facts: what there is to know each model's files by.
        folders: of the models, `None` for one that has none.
        readers: the models of a recipe, in the order of its plan.
    """

    cellar: Cellar
    plans: tuple[Plan, ...]
    facts: Mapping[str, Any]
    folders: tuple[Path | None, ...]
    readers: Callable[[Recipe], Sequence[Reader]]


@contextmanager
def opened_stock(
    recipes: Iterable[Recipe],
    *,
    names: Mapping[int, str] = MappingProxyType({}),
    seed: int,
    limit: int | None,
    allow_nonfinite: bool = False,
    beside: int = 0,
    workers: int = 1,
) -> Iterator[Stock]:
    """The models of some recipes, open and planned with.

    Args:
        recipes: what will be merged, or what bounds it.
        names: number of a recipe → what its faults begin with.
        seed: of random masks.
        limit: most memory, bytes; half of what is free without it.
        allow_nonfinite: let NaN and infinity pass in recipes inside one.
        beside: copies of a model in float32 that are held besides.
        workers: processes that may be on this machine, each with models of its own: what is free is shared by all.

    Raises:
        InputError: models that are missing or do not fit each other, whatever the recipe.
        ResourceError: too little memory.
    """
    from cuvee.planning.free import free_memory

    free = free_memory()
    table = _Opened(weights=True, seed=seed, allow_nonfinite=allow_nonfinite, kept={})
    try:
        planner = Cellar(table.of, seed=seed, room=0)
        plans = tuple(_planned(planner, recipe, names.get(i, "")) for i, recipe in enumerate(recipes))
        stored = sum(spec.nbytes for reader in table.opened.values() for spec in reader.specs.values())
        stacks = sum(sum(map(stack_bytes, plan.steps)) for plan in plans)
        largest = max((4 * sum(step.out.numel for step in plan.steps) for plan in plans), default=0)
        share = None if free is None else free // workers
        room = room_for(needed(plans) + beside * largest, stored + stacks, limit, share)
        table.shelf.grow(min(stored, room // 2))
        cellar = Cellar(table.of, seed=seed, room=max(0, room - stored))
        folders = tuple(reader.folder for reader in table.opened.values())
        yield Stock(cellar, plans, table.facts, folders, table.of)
    finally:
        for reader in table.opened.values():
            reader.close()


def _planned(planner: Cellar, recipe: Recipe, name: str) -> Plan:
    try:
        return planner.plan(recipe)
    except CuveeError as error:
        told = [replace(fault, message=f"{name}{fault.message}") for fault in error.faults]
        raise type(error)(told) from error


@dataclass
class _Opened(OpenModels):
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
