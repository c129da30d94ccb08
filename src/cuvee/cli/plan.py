"""`cuvee plan`: what a recipe would do and cost, from headers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, OUT, Common, MaxMemory, Threads, Tile
from cuvee.cli.outlook import Outlook, arithmetic, copied_by_reason, effects_of, look_ahead, recipe_words
from cuvee.cli.plan_text import plan_text

if TYPE_CHECKING:
    from cuvee.planning import Effect, ModelFacts, Piece, Plan, Step
    from cuvee.planning.inner import Stage


def plan(
    recipe: Path,
    /,
    *,
    out: Annotated[Path | None, OUT] = None,
    threads: Threads = None,
    tile: Tile = None,
    max_memory: MaxMemory = None,
    common: Common = COMMON,
) -> int:
    """Say what a merge would do and cost; only headers are read.

    Told are the models, what becomes of their tensors, the parameters of every
    model in every layer (what gradients and filters come to), changes of the
    configuration, bytes to read and write, peak memory, time, and disk. Whatever
    does not fit is told at once. With --json every tensor is listed.

    For example:

        cuvee plan recipe.yml
        cuvee plan recipe.yml -o /big/disk/merged
        cuvee plan recipe.yml --json

    Args:
        recipe: The recipe file.
        out: Where the result would go: the disk to look at.
        threads: Workers to estimate memory for; one per core without it.
        tile: Elements worked on at a time, for the same estimate.
        max_memory: Most memory besides file cache, such as 1GiB.
        common: How to print.
    """
    return planned("plan", recipe, out, (threads, tile, max_memory), common)


def planned(
    command: str,
    recipe: Path,
    out: Path | None,
    asked: tuple[int | None, int | None, str | None],
    common: Common,
    *,
    overwrite: bool = False,
) -> int:
    """Make and print a plan, on behalf of `plan` or of `merge --dry-run`; `asked` are threads, tile and memory."""
    threads, tile, max_memory = asked
    outlook = look_ahead(recipe, out, overwrite=overwrite, threads=threads, tile=tile, max_memory=max_memory)
    data = data_of(outlook) if command == "plan" else {"dry_run": True, **data_of(outlook)}
    return deliver(Answer(command, data, plan_text(outlook)), common)


def data_of(outlook: Outlook) -> dict[str, Any]:
    """Everything a plan says, ready for JSON."""
    from cuvee.planning.counts import counts_of, vocabulary_data
    from cuvee.planning.inner import stages_in

    plan, words = outlook.plan, recipe_words(outlook.plan)
    return {
        "recipe": outlook.recipe,
        "method": plan.recipe.method,
        "models": [_model(plan, number) for number in range(len(plan.models))],
        "stages": [_stage(stage) for stage in stages_in(plan)],
        "counts": counts_of(plan),
        "copied": copied_by_reason(plan),
        "tied": {tied.name: tied.same_as for tied in plan.tied},
        "arithmetic": arithmetic(plan),
        "cost": {**asdict(outlook.cost), **asdict(outlook.workers)},
        "time": _time(outlook),
        "disk": {**asdict(outlook.disk), "enough": outlook.disk.enough, "occupied": outlook.occupied},
        "effects": [_effect(effect) for effect in effects_of(plan)],
        "config_changes": plan.config_changes,
        **vocabulary_data(plan),
        "side_files": [file.name for file in plan.side_files],
        "notes": plan.notes,
        "steps": [_step(plan, step, words) for step in plan.steps],
    }


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


def _stage(stage: Stage) -> dict[str, Any]:
    from cuvee.planning.counts import counts_of

    plan = stage.plan
    models = [str(facts.ref) for facts in plan.models]
    told = {"name": stage.name, "depth": stage.depth, "method": plan.recipe.method, "models": models}
    return {**told, "counts": counts_of(plan), "read": plan.read, "bytes": stage.nbytes}


def _time(outlook: Outlook) -> dict[str, Any]:
    made = outlook.forecast.prediction
    return {"seconds": made.seconds, **asdict(made), "basis": outlook.forecast.basis}


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "stack": effect.stack,
        "layers": effect.layers,
        "part": effect.group,
        "tensors": effect.tensors,
        "action": effect.action,
        "models": effect.models,
        "settings": effect.values,
    }


def _step(plan: Plan, step: Step, words: Mapping[str, str]) -> dict[str, Any]:
    def piece(found: Piece) -> dict[str, str]:
        return {"model": str(plan.models[found.model].ref), "tensor": found.tensor}

    return {
        "name": step.out.name,
        "action": step.action,
        "dtype": step.out.dtype,
        "shape": step.out.shape,
        "inputs": [piece(found) for found in step.inputs],
        "base": None if step.base is None else piece(step.base),
        "settings": {words[name]: value for name, value in step.settings.items()},
        "work": step.work if step.action == "merge" else None,
        "layer": step.layer,
        "reason": step.reason or None,
    }
