"""Task packs: made of a recipe, listed, and written out again as models.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cuvee import methods
from cuvee.api.arguments import AnyRecipe, as_output, as_path, as_recipe, callback_faults, refuse, unfit
from cuvee.api.merging import MergeResult, files_elsewhere, merge, read_from
from cuvee.errors import Fault, InputError, RecipeError, nearest, number_faults
from cuvee.recipe import from_data
from cuvee.types import DTYPES

if TYPE_CHECKING:
    from cuvee.execute import Progress
    from cuvee.packs import Masks, PackFacts

_FLOATS = tuple(name for name, dtype in DTYPES.items() if dtype.kind == "float")


@dataclass(frozen=True, slots=True)
class PackResult:
    """What `pack` wrote.

    Attributes:
        path: the folder.
        facts: tasks, rescalers, kept shares and sizes.
        copied: tensors that are the base's own and not in the pack.
        models_bytes: bytes of the models that the tasks stand for.
        record: the content of `pack.json`.
        notes: what the user should know.
    """

    path: Path
    facts: PackFacts
    copied: int
    models_bytes: int
    record: Mapping[str, Any]
    notes: tuple[str, ...]


def pack(
    recipe: AnyRecipe,
    out: str | os.PathLike[str],
    *,
    masks: Literal["agree", "tall"] | None = None,
    tall_lambda: float = 0.4,
    dtype: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    tile: int | None = None,
    max_memory: str | int | None = None,
    shard_size: str | int = "5GB",
    progress: Callable[[Progress], None] | None = None,
) -> PackResult:
    """Write one delta for all models of a recipe, and one bit per entry and model that says what the model keeps of it.

    Every model of the recipe becomes a task; `PACK#TASK` names it wherever a model is named (docs/packs.md).

    Args:
        recipe: what to merge, with a method that works on deltas.
        out: the folder to make; it must not be there.
        masks: `agree`, the entries whose sign is that of the merged delta, and a rescaler per task (EMR): the usual
            one for `emr`; or `tall`, the entries at which the task's own delta is larger than `tall_lambda` times what
            the others bring: the usual one for all other methods.
        tall_lambda: 0 or more; more keeps less.
        dtype: float dtype of the stored delta; without it float32, or float64 where the models are.
        seed: seed of random masks of the method (DARE), any integer.
        threads: workers, 1 or more; one per core by default.
        tile: elements per tile, 1 or more; changes memory and speed, never a byte.
        max_memory: as for `merge`.
        shard_size: largest file of the delta.
        progress: called as the work goes on, from any thread.

    Raises:
        UsageError: an argument is of the wrong type or size.
        RecipeError: faults of the recipe, or it cannot be packed.
        InputError: faults of the models.
        OutputExists: `out` is there.
        ResourceError: not enough disk or memory, or no right to write.
    """
    from cuvee.checkpoint import parse_size

    target = as_output(out, "the pack must be a folder's name")
    limit = None if max_memory is None else parse_size(max_memory)
    shard_bytes = parse_size(shard_size)
    wrong = [*_mask_faults(masks, tall_lambda, dtype), *callback_faults(progress)]
    refuse([*number_faults(seed=seed, threads=threads, tile=tile), *wrong])
    asked = as_recipe(recipe)
    spec = methods.get(asked.method).spec
    from cuvee.execute.opening import opened_for
    from cuvee.execute.place import choose
    from cuvee.packs import Masks, look, make_pack
    from cuvee.packs.tasks import models_bytes, recipe_faults
    from cuvee.planning import bind

    if faults := list(recipe_faults(asked, spec)):
        raise RecipeError(faults)
    chosen: Masks = Masks(masks or ("agree" if asked.method == "emr" else "tall"), float(tall_lambda))
    with opened_for(asked, seed=seed) as readers:
        plan = bind(asked, readers, spec)
        workers = choose("cpu", plan, limit=limit, threads=threads, tile=tile).workers
        made = make_pack(
            plan,
            readers,
            methods.get(asked.method),
            target,
            masks=chosen,
            dtype=dtype,
            seed=seed,
            workers=workers,
            shard_bytes=shard_bytes,
            protected=[*read_from(recipe, asked), *files_elsewhere(readers)],
            progress=progress,
        )
    return PackResult(target, look(target), made.copied, models_bytes(plan), made.data, plan.notes)


def _mask_faults(masks: object, tall_lambda: object, dtype: object) -> list[Fault]:
    faults = []
    if masks not in (None, "agree", "tall"):
        faults.append(unfit("masks", "agree or tall", masks))
    if isinstance(tall_lambda, bool) or not isinstance(tall_lambda, int | float) or not 0 <= tall_lambda < 1e30:
        faults.append(unfit("tall_lambda", "a number of at least 0", tall_lambda))
    if dtype is not None and dtype not in _FLOATS:
        faults.append(unfit("dtype", f"one of {', '.join(_FLOATS)}", dtype))
    return faults


def inspect_pack(pack: str | os.PathLike[str]) -> PackFacts:
    """Say what a pack holds: tasks, sizes, kept shares, rescalers. Its base is not opened.

    Args:
        pack: the folder.

    Raises:
        UsageError: `pack` is empty or no path.
        InputError: there is no pack, or it is damaged.
    """
    from cuvee.packs import look

    return look(_folder(pack))


def is_pack(model: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a pack."""
    from cuvee.checkpoint.pack_form import is_pack

    try:
        return is_pack(Path(os.path.expanduser(model)))  # noqa: PTH111 - the Path method raises on `~nobody`
    except (TypeError, ValueError):
        return False


def unpack(
    pack: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    task: str,
    base: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> MergeResult:
    """Write one task of a pack out as a model: a `passthrough` merge of `PACK#TASK`.

    Args:
        pack: the pack's folder.
        out: the folder to make.
        task: the task.
        base: the base, where it is not where the pack says: a path or a hub id.
        settings: as for `merge`: `overwrite`, `threads`, `shard_size`, `sha256` …

    Raises:
        UsageError: an argument is of the wrong type.
        InputError: there is no pack or no such task; the base is not there, or is another one.
        OutputExists: `out` is there and `overwrite` is not given.
        ResourceError: not enough disk or memory, or no right to write.
    """
    from cuvee.checkpoint.pack_form import BASE_MARK

    folder = _folder(pack)
    known = [one.name for one in inspect_pack(folder).tasks]
    if task not in known:
        message = f"{folder}: the pack holds no task {task!r:.100}"
        raise InputError(Fault("unknown-task", message, subject=str(task), hint=nearest(str(task), known)))
    elsewhere = "" if base is None else f"{BASE_MARK}{as_path(base, 'base', 'a base must be a model')}"
    model = {"model": {"path": f"{folder}#{task}{elsewhere}"}}
    data = {"merge_method": "passthrough", "models": [{"model": model}]}
    return merge(from_data(data, methods.specs()), out, **settings)


def _folder(pack: object) -> Path:
    """The folder of a pack.

    Raises:
        InputError: there is none.
    """
    folder = as_path(pack, "pack", "a pack must be a folder")
    if not is_pack(folder):
        what = "is no pack: it has no pack.json of Cuvee's" if folder.is_dir() else "is not there"
        hint = "a pack is made by `cuvee pack RECIPE -o PACK`"
        raise InputError(Fault("bad-pack", f"{folder} {what}", subject=str(folder), hint=hint))
    return folder
