"""`cuvee plan`: what a recipe would do and cost, from headers only."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common, Threads, Tile
from cuvee.cli.plan_text import plan_text

if TYPE_CHECKING:
    from cuvee.planning import Cost, Effect, ModelFacts, Piece, Plan, Step


def plan(
    recipe: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    threads: Threads = None,
    tile: Tile = None,
    common: Common = COMMON,
) -> int:
    """Say what a merge would do and cost; only headers are read.

    Told are the models, what becomes of their tensors, the parameters of every
    model in every layer (what gradients and filters come to), changes of the
    configuration, bytes to read and write, peak memory, and disk. Whatever does
    not fit is told at once. With --json every tensor is listed.

    For example:

        cuvee plan recipe.yml
        cuvee plan recipe.yml -o /big/disk/merged
        cuvee plan recipe.yml --json

    Args:
        recipe: The recipe file.
        out: Where the result would go: the disk to look at.
        threads: Workers to estimate memory for; one per core without it.
        tile: Elements worked on at a time, for the same estimate.
        common: How to print.
    """
    return planned("plan", recipe, out, threads, tile, common)


def planned(command: str, recipe: Path, out: Path | None, threads: int | None, tile: int | None, common: Common) -> int:
    """Make and print a plan, on behalf of `plan` or of `merge --dry-run`."""
    from cuvee import api
    from cuvee.planning import DEFAULT_TILE, cost, default_threads

    made = api.plan(recipe)
    workers = Workers(threads or default_threads(), tile or DEFAULT_TILE)
    outlook = Outlook(recipe, out, made, workers, cost(made, workers.threads, workers.tile), disk_for(made, out))
    data = data_of(outlook) if command == "plan" else {"dry_run": True, **data_of(outlook)}
    return deliver(Answer(command, data, plan_text(outlook)), common)


@dataclass(frozen=True)
class Workers:
    """How many work at a time, and on how many elements each."""

    threads: int
    tile: int


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
    """A plan with what it costs on this machine."""

    recipe: Path
    out: Path | None
    plan: Plan
    workers: Workers
    cost: Cost
    disk: Disk

    @property
    def occupied(self) -> bool:
        """Whether something stands where the output would go."""
        return self.out is not None and self.out.exists() and not (self.out.is_dir() and not any(self.out.iterdir()))


def disk_for(plan: Plan, out: Path | None) -> Disk:
    """What the output needs, and what is free there: at the nearest folder that exists."""
    wanted = (out or Path()).absolute()
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    needed = sum(step.out.nbytes for step in plan.steps) + sum(file.path.stat().st_size for file in plan.side_files)
    return Disk(there, needed, shutil.disk_usage(there).free)


def data_of(outlook: Outlook) -> dict[str, Any]:
    """Everything a plan says, ready for JSON."""
    from cuvee.planning import effects

    plan = outlook.plan
    return {
        "recipe": outlook.recipe,
        "method": plan.recipe.method,
        "models": [_model(plan, number) for number in range(len(plan.models))],
        "counts": counts_of(plan),
        "copied": copied_by_reason(plan),
        "tied": {tied.name: tied.same_as for tied in plan.tied},
        "arithmetic": arithmetic(plan),
        "cost": {**asdict(outlook.cost), **asdict(outlook.workers)},
        "disk": {**asdict(outlook.disk), "enough": outlook.disk.enough, "occupied": outlook.occupied},
        "effects": [_effect(effect) for effect in effects(plan)],
        "config_changes": plan.config_changes,
        "side_files": [file.name for file in plan.side_files],
        "notes": plan.notes,
        "steps": [_step(plan, step) for step in plan.steps],
    }


def counts_of(plan: Plan) -> dict[str, int]:
    """What becomes of the tensors."""
    counts = {"merged": plan.merged, "copied": plan.copied, "tied": len(plan.tied)}
    return {**counts, "lost": plan.lost, "left_out": plan.left_out}


def copied_by_reason(plan: Plan) -> Mapping[str, int]:
    """How many tensors are copied, by why, the most frequent reason first."""
    return dict(Counter(step.reason for step in plan.steps if step.action == "copy").most_common())


def arithmetic(plan: Plan) -> list[dict[str, Any]]:
    """In which dtype merged tensors are computed, in which they are written, and how many."""
    found = Counter((step.work, step.out.dtype) for step in plan.steps if step.action == "merge")
    return [{"work": work, "dtype": dtype, "tensors": count} for (work, dtype), count in found.most_common()]


def _model(plan: Plan, number: int) -> dict[str, Any]:
    facts: ModelFacts = plan.models[number]
    return {
        "model": str(facts.ref),
        "tensors": facts.tensors,
        "parameters": facts.parameters,
        "bytes": facts.nbytes,
        "dtypes": facts.dtypes,
        "layers": facts.layers,
        "base": facts.is_base,
        "donor": number == plan.donor,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "stack": effect.stack,
        "layers": effect.layers,
        "part": effect.group,
        "tensors": effect.tensors,
        "action": effect.action,
        "models": effect.models,
        "settings": _settings(effect.values),
    }


def _step(plan: Plan, step: Step) -> dict[str, Any]:
    def piece(found: Piece) -> dict[str, str]:
        return {"model": str(plan.models[found.model].ref), "tensor": found.tensor}

    return {
        "name": step.out.name,
        "action": step.action,
        "dtype": step.out.dtype,
        "shape": step.out.shape,
        "inputs": [piece(found) for found in step.inputs],
        "base": None if step.base is None else piece(step.base),
        "settings": _settings(step.settings),
        "work": step.work if step.action == "merge" else None,
        "layer": step.layer,
        "reason": step.reason or None,
    }


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by their names in recipes."""
    return {recipe_name(name): value for name, value in values.items()}


def recipe_name(name: str) -> str:
    """A parameter's name as recipes have it; `lambda` is a word of Python's own."""
    return name.removesuffix("_")
