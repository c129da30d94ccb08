"""`cuvee stack`: a model's own layers stacked anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.merge import data_of, honest_interrupt, text_of
from cuvee.cli.options import COMMON, Common, FarOut, MaxMemory, Switch, Threads, Whole
from cuvee.cli.progress import metered
from cuvee.cli.words import in_millions

if TYPE_CHECKING:
    from cuvee.api import StackRecipe
    from cuvee.execute import Progress


def stack(
    model: str,
    /,
    *,
    out: FarOut | None = None,
    depth_upscale: Annotated[Whole | None, Parameter(name="--depth-upscale")] = None,
    layers: str | None = None,
    drop: str | None = None,
    repeat: str | None = None,
    reverse: str | None = None,
    expand: Whole | None = None,
    drop_least: Annotated[Whole | None, Parameter(name="--drop-least")] = None,
    text: Path | None = None,
    module: str | None = None,
    dtype: str | None = None,
    recipe: Path | None = None,
    print_recipe: Annotated[Switch, Parameter(name="--print-recipe")] = False,
    overwrite: Switch = False,
    resume: Switch = False,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    common: Common = COMMON,
) -> int:
    """Stack a model's own layers anew: deeper, shorter, or in another order.

    Layers count from 0 and both ends of a range are taken. A range written
    backwards runs backwards; 4-7x2 comes twice. What is made is an ordinary
    model folder; the configuration follows its layers.

    For example:

        cuvee stack model --depth-upscale 8 -o deeper
        cuvee stack model --layers "0-7, 4-11, 15-12" -o stacked
        cuvee stack model --drop 10-15 -o shorter
        cuvee stack model --repeat 4-7x2 -o repeated
        cuvee stack model --expand 4 -o expanded
        cuvee stack model --drop-least 4 --text texts.jsonl -o shorter
        cuvee stack t5 --module decoder --drop 2-3 -o shorter
        cuvee stack model --depth-upscale 8 --recipe stack.yml

    Args:
        model: Model folder, file, URL or hub id.
        out: The folder to make, or a URL such as s3://bucket/prefix to send it to.
        depth_upscale: Two copies, without the last so many layers of the first and
            the first so many of the second (SOLAR): n layers become 2 (n - m).
        layers: All layers of the result, in order.
        drop: Layers to leave out.
        repeat: Ranges that come again behind themselves: twice, or as x3 says.
        reverse: Ranges to turn round in their places.
        expand: So many silent blocks spread evenly: copies of layers that write
            zeros, so that the model answers as before (LLaMA Pro).
        drop_least: Leave out so many consecutive layers: those that change the last
            token of a text least.
        text: For --drop-least: rows of text, as `cuvee collect` reads them.
        module: Which part is meant of a model with several stacks, such as decoder.
        dtype: Float dtype of the result, such as bfloat16.
        recipe: Write the recipe to this file, and do nothing else.
        print_recipe: Print the recipe, and do nothing else.
        overwrite: Replace a model folder, or the recipe file, that is there already.
        resume: Go on from where the same stack was interrupted.
        threads: Workers; one per core without it.
        max_memory: Most memory besides file cache, such as 1GiB.
        shard_size: Largest weight file, such as 5GB.
        common: How to print.
    """
    from cuvee import api

    _check_target(out, recipe, print_recipe)
    forms = {"depth_upscale": depth_upscale, "layers": layers, "drop": drop, "repeat": repeat}
    asked: dict[str, Any] = {**forms, "reverse": reverse, "expand": expand, "module": module, "dtype": dtype}
    asked |= {"drop_least": drop_least, "text": text}
    if out is None:
        made = api.stack_recipe(model, **asked, root=None if recipe is None else recipe.parent)
        return _tell_recipe(made, recipe, overwrite, common)
    start = time.perf_counter()
    with honest_interrupt(Path(out)), metered("stacking", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        settings: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "threads": threads}
        settings |= {"max_memory": max_memory, "shard_size": shard_size, "progress": follow}
        result = api.stack(model, out, **asked, **settings)
    seconds = time.perf_counter() - start
    lines = [*_facts(result.made), *text_of(result.merge, seconds)]
    data = {**data_of(result.merge, seconds), **_data(result.made), "notes": result.notes}
    return deliver(Answer("stack", data, lines, result.notes), common)


def _check_target(out: Path | str | None, recipe: Path | None, print_recipe: bool) -> None:
    """One of the three must be there, and no two."""
    from cuvee.errors import Fault, UsageError

    given = {"--out": out is not None, "--recipe": recipe is not None, "--print-recipe": print_recipe}
    there = [name for name, is_there in given.items() if is_there]
    if len(there) != 1:
        message = f"one of --out, --recipe and --print-recipe should be given; found {' and '.join(there) or 'none'}"
        raise UsageError(Fault("bad-argument", message, subject="out", hint="for example -o stacked"))


def _tell_recipe(made: StackRecipe, file: Path | None, overwrite: bool, common: Common) -> int:
    from cuvee.cli.average import write_recipe
    from cuvee.recipe import to_data, to_yaml

    data = {"recipe": file or to_data(made.recipe), **_data(made), "notes": made.notes}
    if file is None:
        return deliver(Answer("stack", data, to_yaml(made.recipe).splitlines(), made.notes), common)
    write_recipe(made.recipe, file, overwrite)
    said = [*_facts(made), f"recipe written to {file}; `cuvee merge` carries it out"]
    return deliver(Answer("stack", data, said, made.notes), common)


def _data(made: StackRecipe) -> dict[str, Any]:
    layers = {"before": made.count, "after": len(made.layers), "from": made.layers, "silent": made.silent}
    return {"layers": layers, "parameters": {"before": made.parameters_before, "after": made.parameters}}


def _facts(made: StackRecipe) -> Iterator[str]:
    from cuvee.recipe.layer_list import written_layers

    parts = [written_layers(run.layers) + (" (silent)" if run.silent else "") for run in made.runs]
    yield f"{made.count} layers become {len(made.layers)}: {', '.join(parts)}"
    yield f"{in_millions(made.parameters_before)} parameters become {in_millions(made.parameters)}"
