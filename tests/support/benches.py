"""Plans over state dicts in memory, ready to be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

import cuvee
from cuvee import methods
from cuvee.checkpoint import MemoryReader, MemoryWriter, plan_layout
from cuvee.execute.ledger import Ledger
from cuvee.execute.work import Bench
from cuvee.methods import Method
from cuvee.planning import bind, referenced


@dataclass(frozen=True)
class Table:
    """A bench whose writer can be looked into."""

    bench: Bench
    writer: MemoryWriter

    @property
    def result(self) -> dict[str, Tensor]:
        """What was written; every tensor must be whole."""
        self.writer.publish()
        return self.writer.tensors


def table(
    data: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Tensor]],
    *,
    method: Method | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    reader: type[MemoryReader] = MemoryReader,
    **options: Any,
) -> Table:
    """A bench for a recipe as data.

    Args:
        data: the recipe; its models are keys of `models`.
        models: state dicts by name.
        method: carried out instead of the recipe's.
        configs: configurations by model name.
        reader: the class of the readers.
        options: further fields of the bench.
    """
    recipe = cuvee.recipe_from(data)
    chosen = method or methods.get(recipe.method)
    readers = [reader(ref.path, models[ref.path], (configs or {}).get(ref.path)) for ref in referenced(recipe)]
    plan = bind(recipe, readers, chosen.spec)
    writer = MemoryWriter(plan_layout([step.out for step in plan.steps], 1 << 40))
    return Table(Bench(plan, readers, writer, chosen, Ledger(plan, hashes=False, progress=None), **options), writer)
