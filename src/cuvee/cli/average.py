"""`cuvee average`: average the checkpoints of a training run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.merge import data_of, honest_interrupt, text_of
from cuvee.cli.options import COMMON, Common, Device, FarOut, MaxMemory, Switch, Threads, Whole
from cuvee.cli.progress import metered
from cuvee.cli.words import counted

if TYPE_CHECKING:
    from cuvee.api import AverageRecipe, AverageResult
    from cuvee.execute import Progress
    from cuvee.recipe import Recipe


def average(
    *models: str,
    out: FarOut | None = None,
    last: Whole | None = None,
    from_: Annotated[Whole | None, Parameter(name="--from")] = None,
    to: Whole | None = None,
    every: Whole | None = None,
    all_: Annotated[Switch, Parameter(name="--all")] = False,
    kind: Literal["uniform", "ema", "linear"] = "uniform",
    decay: float | None = None,
    skip_incomplete: Annotated[Switch, Parameter(name="--skip-incomplete")] = False,
    recalibrate: str | None = None,
    batch_size: Annotated[Whole, Parameter(name="--batch-size")] = 32,
    dtype: str | None = None,
    recipe_only: Annotated[Path | None, Parameter(name="--recipe-only")] = None,
    overwrite: Switch = False,
    resume: Switch = False,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    device: Device = "cpu",
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    common: Common = COMMON,
) -> int:
    """Average the checkpoints of a training run into a new folder.

    Checkpoints are found by their names (checkpoint-100, step_100, epoch_1,
    model_100.pt …) and ordered by their numbers. Configuration and tokenizer
    come from the newest; optimizer and trainer states are left behind.

    For example:

        cuvee average run --last 5 -o averaged
        cuvee average run --from 1000 --to 5000 --every 2 -o averaged
        cuvee average run --all --kind ema --decay 0.8 -o averaged
        cuvee average a b c -o averaged
        cuvee average run --last 5 -o averaged --recalibrate images.safetensors

    Args:
        models: The folder of a run, or two or more checkpoints.
        out: The folder to make, or a URL such as s3://bucket/prefix to send it to.
        last: Only the last so many of those chosen.
        from_: Only checkpoints from this step on.
        to: Only checkpoints up to this step.
        every: Only every n-th of these, counted back from the newest.
        all_: All checkpoints.
        kind: `uniform` is the mean (SWA, LAWA), `ema` an exponential moving average
            over checkpoints, `linear` has weights that grow evenly.
        decay: Of ema: what is kept from one checkpoint to the next; 0.9 without it.
        skip_incomplete: Pass over checkpoints that are not whole.
        recalibrate: Data to estimate BatchNorm statistics on: a safetensors file of
            the model's arguments, such as pixel_values, or module:function.
        batch_size: Rows of that file that make a batch.
        dtype: Float dtype of the result, such as bfloat16.
        recipe_only: Write the recipe to this file, and do nothing else.
        overwrite: Replace a model folder, or the recipe file, that is there already.
        resume: Go on from where the same average was interrupted.
        threads: Workers; one per core without it.
        max_memory: Most memory besides file cache, such as 1GiB.
        device: Where tiles are combined: cpu, cuda, cuda:1 … or auto.
        shard_size: Largest weight file, such as 5GB.
        common: How to print.
    """
    from cuvee import api

    _check_target(out, recipe_only)
    chosen = {"last": last, "from_step": from_, "to_step": to, "every": every, "everything": all_}
    asked: dict[str, Any] = {**chosen, "kind": kind, "decay": decay, "skip_incomplete": skip_incomplete, "dtype": dtype}
    if recipe_only is not None:
        made = api.average_recipe(list(models), root=recipe_only.parent, **asked)
        write_recipe(made.recipe, recipe_only, overwrite)
        return deliver(
            Answer("average", _recipe_data(made, recipe_only), _recipe_text(made, recipe_only), made.notes), common
        )
    assert out is not None
    start = time.perf_counter()
    with honest_interrupt(Path(out)), metered("averaging", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        settings: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "threads": threads, "device": device}
        settings |= {"max_memory": max_memory, "shard_size": shard_size, "progress": follow}
        data: dict[str, Any] = {"recalibrate": recalibrate, "batch_size": batch_size}
        result = api.average(list(models), out, **asked, **settings, **data)
    seconds = time.perf_counter() - start
    return deliver(Answer("average", _data(result, seconds), _text(result, seconds), result.notes), common)


def _check_target(out: Path | str | None, recipe_only: Path | None) -> None:
    """One of the two must be there, and not both."""
    from cuvee.errors import Fault, UsageError

    if (out is None) == (recipe_only is None):
        message = f"either --out or --recipe-only should be given; found {'neither' if out is None else 'both'}"
        raise UsageError(Fault("bad-argument", message, subject="out", hint="for example -o averaged"))


def write_recipe(recipe: Recipe, file: Path, overwrite: bool) -> None:
    """Write a recipe to a file; one that is there is replaced only if that is allowed."""
    from cuvee.checkpoint.os_errors import told
    from cuvee.errors import Fault, OutputExists
    from cuvee.recipe import to_yaml

    text = to_yaml(recipe)
    with told("write", file):
        try:
            stream = file.open("w" if overwrite else "x", encoding="utf-8")
        except FileExistsError:
            hint = "name another file, or allow replacing it with --overwrite"
            raise OutputExists(Fault("output-exists", f"{file} is there already", None, str(file), hint)) from None
        with stream:
            stream.write(text)


def _checkpoints(made: AverageRecipe | AverageResult) -> dict[str, Any]:
    shares = [{"path": one.path, "step": one.step, "weight": one.weight} for one in made.checkpoints]
    return {"checkpoints": shares, "skipped": made.skipped}


def _recipe_data(made: AverageRecipe, file: Path) -> dict[str, Any]:
    return {"recipe": file, **_checkpoints(made), "notes": made.notes}


def _data(result: AverageResult, seconds: float) -> dict[str, Any]:
    recalibrated = result.record.get("recalibrated")
    return {**data_of(result.merge, seconds), **_checkpoints(result), "recalibrated": recalibrated}


def _shares(made: AverageRecipe | AverageResult) -> Iterator[str]:
    yield f"{counted(len(made.checkpoints), 'checkpoint')}, oldest first:"
    for one in made.checkpoints:
        yield f"  {one.weight:.4f}  {one.path}"


def _recipe_text(made: AverageRecipe, file: Path) -> Iterator[str]:
    yield from _shares(made)
    yield f"recipe written to {file}; `cuvee merge` carries it out"


def _text(result: AverageResult, seconds: float) -> Iterator[str]:
    yield from _shares(result)
    yield from text_of(result.merge, seconds)
    if (found := result.record.get("recalibrated")) is not None:
        what = f"{counted(len(found['tensors']), 'tensor')}, {counted(found['batches'], 'batch', 'batches')}"
        yield f"BatchNorm statistics estimated on {found['data']}: {what}"
