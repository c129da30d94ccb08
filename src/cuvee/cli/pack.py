"""`cuvee pack`: one delta for several tasks, and a bit per entry and task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.merge import honest_interrupt
from cuvee.cli.options import COMMON, Common, MaxMemory, Out, Seed, Threads, Tile
from cuvee.cli.pack_text import data_of, sizes, tasks_table
from cuvee.cli.progress import metered
from cuvee.cli.words import duration

if TYPE_CHECKING:
    from cuvee.api import PackResult
    from cuvee.execute import Progress


def pack(
    recipe: Path,
    /,
    *,
    out: Out,
    masks: Literal["agree", "tall"] | None = None,
    tall_lambda: Annotated[float, Parameter(name="--tall-lambda")] = 0.4,
    dtype: str | None = None,
    seed: Seed = 0,
    threads: Threads = None,
    tile: Tile = None,
    max_memory: MaxMemory = None,
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    common: Common = COMMON,
) -> int:
    """Pack the models of a recipe: one delta, and one bit per entry and model.

    Every model becomes a task. PACK#TASK names it wherever a model is named, and
    `cuvee unpack` writes it out. The base is not in the pack: it stays where it
    is, and the pack knows it by its fingerprint.

    For example:

        cuvee pack emr.yml -o packs/vision
        cuvee pack ties.yml -o packs/vision --masks tall --tall-lambda 0.3
        cuvee unpack packs/vision --task cars -o cars

    Args:
        recipe: The recipe file; its method must work on deltas.
        out: The folder to make.
        masks: `agree` keeps the entries that have the merged sign, with a rescaler
            per task (usual for emr); `tall` those where the task outweighs the others.
        tall_lambda: Of tall: how much it must outweigh them; more keeps less.
        dtype: Float dtype of the stored delta; float32 without it.
        seed: Seed of random masks of the method (DARE).
        threads: Workers; one per core without it.
        tile: Elements worked on at a time: memory and speed, never the result.
        max_memory: Most memory besides file cache, such as 1GiB.
        shard_size: Largest file of the delta, such as 5GB.
        common: How to print.
    """
    from cuvee import api

    start = time.perf_counter()
    with honest_interrupt(out), metered("packing", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        settings: dict[str, Any] = {"seed": seed, "threads": threads, "tile": tile, "max_memory": max_memory}
        settings |= {"shard_size": shard_size, "progress": follow}
        result = api.pack(recipe, out, masks=masks, tall_lambda=tall_lambda, dtype=dtype, **settings)
    seconds = time.perf_counter() - start
    return deliver(Answer("pack", _data(result, seconds), _text(result, seconds), result.notes), common)


def _data(result: PackResult, seconds: float) -> dict[str, Any]:
    return {
        "pack": data_of(result.facts),
        "copied": result.copied,
        "models_bytes": result.models_bytes,
        "seconds": round(seconds, 3),
        "recipe_sha256": result.record["recipe_sha256"],
        "citations": result.record["citations"],
        "notes": result.notes,
    }


def _text(result: PackResult, seconds: float) -> Iterator[RenderableType]:
    from cuvee.checkpoint.layout import format_size

    facts = result.facts
    yield f"{facts.changed:,} tensors packed, {result.copied:,} left to the base"
    yield tasks_table(facts)
    models = f"{format_size(result.models_bytes)} of models" if result.models_bytes else "models"
    yield f"written to {result.path} — {sizes(facts)} for {models} in {duration(seconds)}"
