"""A recipe's result, or a folder, as a ready model of transformers; no folder is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.api.arguments import AnyRecipe, as_path, as_recipe, found, refuse, switch_faults, unfit
from cuvee.errors import Fault, InputError, number_faults
from cuvee.types import DTYPES

if TYPE_CHECKING:
    from cuvee.planning import Plan
    from cuvee.recipe import Recipe


def load(
    recipe: AnyRecipe,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    threads: int | None = None,
    max_memory: str | int | None = None,
    allow_nonfinite: bool = False,
) -> Any:
    """Merge models in memory and give the result as a ready model of transformers, in evaluation mode.

    The model is what `merge` into a folder and transformers' `from_pretrained` of it would give.

    Args:
        recipe: what to merge; or a model folder, which is loaded as it is.
        dtype: torch name of the dtype to hold it in, such as `"float32"`; the result's own by default.
        device: torch's name of the device to put it on.
        seed: seed of random masks.
        threads: workers, 1 or more; one per core by default.
        max_memory: as for `merge`: of the merging, besides the model itself.
        allow_nonfinite: merge inputs that hold NaN or infinity.

    Raises:
        UsageError: an argument is of the wrong type; transformers 5 or newer is not installed.
        RecipeError: faults of the recipe.
        InputError: faults of the models; the result has no configuration, or none that transformers knows.
        ResourceError: not enough memory.
    """
    refuse(
        [
            *dtype_faults(dtype),
            *device_faults(device),
            *number_faults(seed=seed, threads=threads),
            *switch_faults(allow_nonfinite=allow_nonfinite),
        ]
    )
    from cuvee.families.loading import load_folder

    if isinstance(recipe, str | os.PathLike):
        folder = as_path(recipe, "recipe", "what to load must be a recipe, or a model folder")
        if folder.is_dir():
            return load_folder(folder, dtype=dtype, device=device)
    how = {"seed": seed, "threads": threads, "max_memory": max_memory, "allow_nonfinite": allow_nonfinite}
    return load_recipe_result(as_recipe(recipe), dtype, device, **how)[0]  # type: ignore[arg-type]


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
    """A recipe's result as a ready model, and the plan that says what stands beside it; settings as for `load`."""
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
    from cuvee.api.nesting import opened_for
    from cuvee.checkpoint import MemoryWriter, parse_size, plan_layout
    from cuvee.execute import execute
    from cuvee.execute.settling import settle
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


def dtype_faults(dtype: object) -> list[Fault]:
    """What is wrong with the name of a dtype; none is needed."""
    floats = [name for name, one in DTYPES.items() if one.kind == "float"]
    if dtype is None or (isinstance(dtype, str) and dtype in floats):
        return []
    return [Fault("bad-argument", f"`dtype` must be one of {', '.join(floats)}; found {found(dtype)}", subject="dtype")]


def device_faults(device: object) -> list[Fault]:
    """What is wrong with the name of a device, or with the device."""
    import torch

    if not isinstance(device, str):
        return [unfit("device", "a device such as `cpu` or `cuda:0`", device)]
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = (str(error).splitlines() or ["no reason given"])[0]
        return [Fault("bad-argument", f"`device` {device!r:.40} is not there: {said}", subject="device")]
    return []
