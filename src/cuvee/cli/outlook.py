"""What a merge would do and cost on this machine, ready to be told as text or as JSON."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.api.forecast import Forecast
    from cuvee.planning import Cost, Effect, Plan, Workers


@dataclass(frozen=True)
class Disk:
    """Bytes that an output needs, and bytes that are free where it would stand."""

    path: Path
    needed: int
    free: int

    @property
    def enough(self) -> bool:
        """Whether it fits."""
        return self.free >= self.needed


@dataclass(frozen=True)
class Outlook:
    """A plan with what it costs on this machine.

    Attributes:
        recipe, out: the recipe file, and where the output would go.
        overwrite: whether what is there may be replaced.
        occupied: whether something stands there.
        plan, workers, cost, disk, forecast: what would be done, and what it takes.
    """

    recipe: Path
    out: Path | None
    overwrite: bool
    occupied: bool
    plan: Plan
    workers: Workers
    cost: Cost
    disk: Disk
    forecast: Forecast


def look_ahead(
    recipe: Path,
    out: Path | None,
    *,
    overwrite: bool,
    threads: int | None,
    tile: int | None,
    max_memory: str | None = None,
) -> Outlook:
    """Plan a recipe and work out what it costs.

    Args:
        recipe: the recipe file.
        out: where the result would go; the working folder's disk is looked at without it.
        overwrite: whether what stands there may be replaced.
        threads: workers; one per core by default.
        tile: elements worked on at a time; as in a merge by default.
        max_memory: most memory, as a size; as in a merge by default.

    Raises:
        ResourceError: the memory does not do, or the place for the output cannot be looked at.
    """
    from cuvee import api
    from cuvee.api.forecast import forecast
    from cuvee.checkpoint.layout import parse_size
    from cuvee.checkpoint.os_errors import told
    from cuvee.planning import cost, fit_workers

    limit = None if max_memory is None else parse_size(max_memory)
    made = api.plan(recipe)
    workers = fit_workers(made, limit, threads, tile)
    price = cost(made, workers, keeps=limit is None)
    with told("look at", out or Path()):
        disk = disk_for(made, out)
        time = forecast(made, workers, disk.path)
        return Outlook(recipe, out, overwrite, is_occupied(out), made, workers, price, disk, time)


def is_occupied(out: Path | None) -> bool:
    """Whether something stands where the output would go; an empty folder is nothing."""
    return out is not None and out.exists() and not (out.is_dir() and not any(out.iterdir()))


def disk_for(plan: Plan, out: Path | None) -> Disk:
    """What the output needs, and what is free there: at the nearest folder that exists."""
    wanted = (out or Path()).absolute()
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    needed = sum(step.out.nbytes for step in plan.steps) + sum(file.nbytes for file in plan.side_files)
    return Disk(there, needed, shutil.disk_usage(there).free)


def copied_by_reason(plan: Plan) -> Mapping[str, int]:
    """How many tensors are copied, by why, the most frequent reason first."""
    return dict(Counter(step.reason for step in plan.steps if step.action == "copy").most_common())


def arithmetic(plan: Plan) -> list[dict[str, Any]]:
    """In which dtype merged tensors are computed, in which they are written, and how many."""
    found = Counter((step.work, step.out.dtype) for step in plan.steps if step.action == "merge")
    return [{"work": work, "dtype": dtype, "tensors": count} for (work, dtype), count in found.most_common()]


def recipe_words(plan: Plan) -> Mapping[str, str]:
    """The parameters of a plan's method: what they are called in Python → what recipes call them."""
    from cuvee import methods
    from cuvee.methods.job import argument

    return {argument(param.name): param.name for param in methods.get(plan.recipe.method).spec.params}


def effects_of(plan: Plan) -> list[Effect]:
    """What the parameters come to, layer by layer, under the names that recipes have for them."""
    from cuvee.planning import effects

    words = recipe_words(plan)
    return [replace(e, values={words[name]: value for name, value in e.values.items()}) for e in effects(plan)]
