"""Stacks of one model's layers: deeper, shorter, in another order, or with silent blocks between.

Each is a `passthrough` recipe with slices, and `merge` does the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.api.arguments import as_model, as_path
from cuvee.api.files import opened, plan
from cuvee.api.merging import MergeResult, merge
from cuvee.api.stack_forms import Form, arguments, form_of
from cuvee.api.stack_slices import slices_of, stack_of
from cuvee.errors import Fault, UsageError
from cuvee.recipe import ModelEntry, Module, Recipe

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.execute import Progress
    from cuvee.layers.order import Run
    from cuvee.planning import Plan


@dataclass(frozen=True, slots=True)
class StackRecipe:
    """A stack as it would be made.

    Attributes:
        recipe: the `passthrough` recipe.
        runs: its layers, run by run.
        count: layers that the model has.
        parameters: numbers in the weights of the result.
        parameters_before: numbers in those of the model.
        notes: what the user should know.
    """

    recipe: Recipe
    runs: tuple[Run, ...]
    count: int
    parameters: int
    parameters_before: int
    notes: tuple[str, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """For every layer of the result, the layer of the model that it is made of."""
        return tuple(layer for run in self.runs for layer in run.layers)

    @property
    def silent(self) -> tuple[int, ...]:
        """The layers of the result that change nothing."""
        flags = [run.silent for run in self.runs for _ in run.layers]
        return tuple(number for number, silent in enumerate(flags) if silent)


@dataclass(frozen=True, slots=True)
class StackResult:
    """What was stacked and written: `made` is what was planned, `merge` the merge that made it."""

    made: StackRecipe
    merge: MergeResult
    notes: tuple[str, ...]

    @property
    def path(self) -> Path | str:
        """The output folder."""
        return self.merge.path


def stack_recipe(
    model: str | os.PathLike[str],
    *,
    depth_upscale: int | None = None,
    layers: str | None = None,
    drop: str | None = None,
    repeat: str | None = None,
    reverse: str | None = None,
    expand: int | None = None,
    drop_least: int | None = None,
    text: str | os.PathLike[str] | None = None,
    module: str | None = None,
    dtype: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> StackRecipe:
    """Write down a stack of a model's layers as a recipe, and find out what it comes to; only headers are read.

    Args:
        model: as for `stack`.
        depth_upscale: as for `stack`.
        layers: as for `stack`.
        drop: as for `stack`.
        repeat: as for `stack`.
        reverse: as for `stack`.
        expand: as for `stack`.
        drop_least: as for `stack`.
        text: as for `stack`.
        module: as for `stack`.
        dtype: as for `stack`.
        root: folder that the recipe's paths should start from; the working folder by default.

    Raises:
        UsageError, InputError, RecipeError: as for `stack`.
    """
    chosen = {"depth_upscale": depth_upscale, "layers": layers, "drop": drop, "repeat": repeat, "reverse": reverse}
    given = arguments(**chosen, expand=expand, drop_least=drop_least)
    form, ref = form_of(given), as_model(model)
    file = _text(drop_least, text)
    folder = None if root is None else as_path(root, "root", "model paths must start from a folder")
    with opened([ref], None, weights=False) as (reader,):
        found, module = stack_of(reader, module)
        count = found.count - found.extra
        runs = form.runs(count, reader.label)
        least = None if file is None else _least(reader, file, count, count - len(runs[0].layers))
        runs = runs if least is None else (least.run,)
        slices = tuple(slices_of(reader, found, ref, runs))
    body: dict[str, Any] = {"slices": slices}
    if module is not None:
        rest = {} if module == "rest" else {"rest": Module(models=(ModelEntry(ref),))}
        body = {"modules": {module: Module(slices=slices), **rest}}
    recipe = Recipe("passthrough", dtype=dtype, **body)
    planned = plan(recipe)
    numbers = sum(step.out.numel for step in planned.steps), planned.models[0].parameters
    made = StackRecipe(recipe, runs, count, *numbers, (*_told(least), *_notes(form, planned)))
    return made if folder is None else replace(made, recipe=_moved(recipe, folder))


def stack(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    depth_upscale: int | None = None,
    layers: str | None = None,
    drop: str | None = None,
    repeat: str | None = None,
    reverse: str | None = None,
    expand: int | None = None,
    drop_least: int | None = None,
    text: str | os.PathLike[str] | None = None,
    module: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    threads: int | None = None,
    max_memory: str | int | None = None,
    shard_size: str | int = "5GB",
    allow_nonfinite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> StackResult:
    """Stack a model's own layers anew, into a new folder (docs/stack.md).

    Exactly one of the first seven settings says which layers. Lists are texts such as `"0-7, 4-11, 15-12, 20"`: layers
    count from 0, both ends of a range are taken, a range written backwards runs backwards, `4-7x2` comes twice.

    Args:
        model: a folder, a file, a URL, or a hub id with `@revision`.
        out: the folder to make, or a URL.
        depth_upscale: two copies one behind the other, without the last m layers of the first and the first m of the
            second: n layers become 2 (n − m). 0 or more, less than n / 2.
        layers: all layers of the result, in order.
        drop: layers to leave out.
        repeat: forward ranges that come again right behind themselves: twice, or as often as `x3` says.
        reverse: forward ranges to turn round in their places.
        expand: so many silent blocks, spread evenly: copies of layers that write zeros, so that the function stays
            what it was.
        drop_least: so many consecutive layers are left out: those that turn the last token of a text least (Gromov et
            al. 2024). The last layer stays.
        text: for `drop_least`, a file of rows, as for `collect`; the first 256 are run through the model, in float32.
        module: the part of the model that is meant, where it has several stacks, such as `decoder`: a part of what
            the stack's names begin with, or a name that `part` of a recipe knows (docs/partial.md).
        dtype: float dtype of the result; that of the model without it.
        overwrite: as for `merge`.
        resume: as for `merge`.
        threads: as for `merge`.
        max_memory: as for `merge`.
        shard_size: as for `merge`.
        allow_nonfinite: as for `merge`.
        progress: as for `merge`.

    Raises:
        UsageError: not exactly one of the seven is given, or it reads wrongly, or asks for layers that are not there or
            for none at all; `module` is missing where the model has several stacks.
        InputError: the model cannot be read, or has no stack of layers; its configuration cannot say the new order;
            its class cannot be built of these layers; its layers have no silent form.
        RecipeError: `dtype` is none, or `module` is no part of the model.
        OutputExists, ResourceError: as for `merge`.
    """
    chosen = {"depth_upscale": depth_upscale, "layers": layers, "drop": drop, "repeat": repeat, "reverse": reverse}
    given = arguments(**chosen, expand=expand, drop_least=drop_least)
    made = stack_recipe(model, **given, text=text, module=module, dtype=dtype)  # type: ignore[arg-type]
    done = merge(
        made.recipe,
        out,
        overwrite=overwrite,
        resume=resume,
        threads=threads,
        max_memory=max_memory,
        shard_size=shard_size,
        allow_nonfinite=allow_nonfinite,
        progress=progress,
    )
    return StackResult(made, done, tuple(dict.fromkeys((*made.notes, *done.notes))))


@dataclass(frozen=True, slots=True)
class Least:
    """The layers that are left when the block that turns a text least is dropped, and how much blocks turn it."""

    run: Run
    first: int
    distances: tuple[float, ...]


def _text(drop_least: int | None, text: object) -> Path | None:
    """The file of texts, which goes with `drop_least` and with nothing else.

    Raises:
        UsageError: one is given without the other, or `text` is no path.
    """
    if (drop_least is None) != (text is None):
        message = "`drop_least` and `text` should be given together; found one of them"
        raise UsageError(Fault("bad-argument", message, subject="text"))
    return None if text is None else as_path(text, "text", "`text` must be a file of rows")


def _least(reader: Reader, text: Path, count: int, block: int) -> Least:
    """Find the block of layers that turns what passes through it least.

    Raises:
        InputError: the model is none that can be run, or the rows are not usable.
    """
    from cuvee.collecting.angles import block_distances
    from cuvee.execute.adapters import folder_of
    from cuvee.layers.order import dropped

    distances = block_distances(folder_of(reader, "`drop_least`"), text, count, block)
    first = min(range(len(distances)), key=distances.__getitem__)
    return Least(dropped(count, range(first, first + block))[0], first, distances)


def _told(least: Least | None) -> tuple[str, ...]:
    """How far the block that was dropped turns the last token, beside the others."""
    if least is None:
        return ()
    block = len(least.distances), least.distances[least.first], max(least.distances)
    said = f"of {block[0]} blocks the one from layer {least.first} on turns the last token least: {block[1]:.4f} of"
    return (f"{said} half a turn, where others turn it up to {block[2]:.4f}",)


def _moved(recipe: Recipe, folder: Path) -> Recipe:
    from cuvee.planning.moving import moved

    return moved(recipe, folder.absolute())


_UNTRIED: Final = (
    "by their names these are all tensors that a layer writes with, but silent layers were not tried with this kind of "
    "model: compare its answers with those before"
)


def _is_tried(planned: Plan) -> bool:
    """Whether silent layers were tried with a kind of model, by what its configuration calls it."""
    from cuvee.families.residual import TRIED

    config = json.loads(planned.config_text or "{}")
    return bool({config.get("model_type"), (config.get("text_config") or {}).get("model_type")} & TRIED)


def _notes(form: Form, planned: Plan) -> tuple[str, ...]:
    if form.name == "expand":
        zeros = "the new blocks write zeros until they are trained: `cuvee tune`"
        said = f"the function is unchanged; {zeros}" if _is_tried(planned) else f"{zeros}; {_UNTRIED}"
    else:
        said = "layers stand where they were not trained: heal the stack with `cuvee tune` before it is judged"
    return (said, *planned.notes)
