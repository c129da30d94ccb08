"""A recipe's result, or a folder, as a ready model of transformers; no folder is written."""

from __future__ import annotations

import os
from typing import Any

from cuvee.api.arguments import AnyRecipe, as_path, as_recipe, found, refuse, switch_faults, unfit
from cuvee.errors import Fault, number_faults
from cuvee.types import DTYPES


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
    from cuvee.execute.in_memory import load_recipe_result

    how = {"seed": seed, "threads": threads, "max_memory": max_memory, "allow_nonfinite": allow_nonfinite}
    return load_recipe_result(as_recipe(recipe), dtype, device, **how)[0]  # type: ignore[arg-type]


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
