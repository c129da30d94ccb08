"""A recipe's result as a ready model of transformers, merged in memory; no folder is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.errors import Fault, InputError
from cuvee.execute.opening import opened_for
from cuvee.execute.run import execute
from cuvee.execute.settling import settle

if TYPE_CHECKING:
    from cuvee.planning import Plan
    from cuvee.recipe import Recipe


def load_recipe_result(
    asked: Recipe,
    dtype: str | None,
    device: str,
    *,
    seed: int = 0,
    threads: int | None = None,
    max_memory: str | int | None = None,
    allow_nonfinite: bool = False,
) -> tuple[Any, Plan]:
    """A recipe's result as a ready model, and the plan of what stands beside it; settings as for `cuvee.load`."""
    from cuvee.families.loading import load_tensors

    plan, tensors = _merged(asked, seed, threads, max_memory, allow_nonfinite=allow_nonfinite)
    generation = next((file for file in plan.side_files if file.name == "generation_config.json"), None)
    text = None if generation is None else generation.fetched().read_text("utf-8")
    label = asked.name or "the result"
    config = plan.config_text or ""  # `_merged` has refused a result without
    return load_tensors(label, config, tensors, generation=text, dtype=dtype, device=device), plan


def _merged(
    recipe: Recipe, seed: int, threads: int | None, max_memory: str | int | None, *, allow_nonfinite: bool
) -> tuple[Plan, Mapping[str, Any]]:
    """The plan of a recipe, and the tensors that it gives."""
    from cuvee.checkpoint import MemoryWriter, parse_size, plan_layout
    from cuvee.planning import bind, fit_workers

    method = methods.get(recipe.method)
    limit = None if max_memory is None else parse_size(max_memory)
    with opened_for(recipe, seed=seed, allow_nonfinite=allow_nonfinite) as readers:
        plan = bind(recipe, readers, method.spec)
        if plan.config_text is None:
            raise InputError(_no_config(plan))
        workers = fit_workers(plan, limit, threads)
        plan = settle(plan, readers, method, seed=seed, workers=workers, allow_nonfinite=allow_nonfinite)
        how = {"seed": seed, "threads": workers.threads, "tile": workers.tile}
        with MemoryWriter(plan_layout([step.out for step in plan.steps], 1 << 62)) as writer:
            execute(plan, readers, writer, method, **how, allow_nonfinite=allow_nonfinite, hashes=False)  # type: ignore[arg-type]
            writer.publish()
            return plan, writer.tensors


def _no_config(plan: Plan) -> Fault:
    donor = plan.models[plan.donor].label
    message = f"{donor} has no config.json, so the result has none, and what class it is cannot be told"
    hint = "put a config.json beside its weights; `merge_state_dicts` gives bare tensors"
    return Fault("bad-config", message, subject=donor, hint=hint)
