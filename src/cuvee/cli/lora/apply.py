"""`cuvee lora apply`: adapters applied to a model, written out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.merge import data_of, honest_interrupt, text_of
from cuvee.cli.options import COMMON, Common, FarOut, MaxMemory, Switch, Threads
from cuvee.cli.progress import metered

if TYPE_CHECKING:
    from cuvee.api.merging import MergeResult
    from cuvee.execute import Progress


def apply(
    model: str,
    /,
    *adapters: str,
    out: FarOut,
    weight: float = 1.0,
    overwrite: Switch = False,
    resume: Switch = False,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    common: Common = COMMON,
) -> int:
    """Apply adapters to a model and write the result out as a model folder.

    The result is what PEFT's `merge_and_unload` makes, worked out tensor by
    tensor in float32 and rounded to the dtype of the model, with --weight once
    more after it is weighted. Several adapters are applied one after the other.
    The folder holds a record, as one of `cuvee merge` does.

    For example:

        cuvee lora apply base my-adapter -o model
        cuvee lora apply org/base math code -o model
        cuvee lora apply base my-adapter -o half --weight 0.5

    Args:
        model: The base: a model folder, a hub id or a URL.
        adapters: Folders as PEFT writes them, or hub ids; one or more.
        out: The folder to make.
        weight: How much of all that changes: model + weight · (result − model).
        overwrite: Replace a model folder that is there already.
        resume: Go on from where the same call was interrupted.
        threads: Workers; one per core without it.
        max_memory: Most memory besides file cache, such as 1GiB.
        shard_size: Largest weight file, such as 5GB, 500MB or 2GiB.
        common: How to print.
    """
    from cuvee import api
    from cuvee.api.adapting import touched_by

    start = time.perf_counter()
    with honest_interrupt(Path(out)), metered("applying", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        result = api.lora_apply(
            model,
            adapters,
            out,
            weight=weight,
            overwrite=overwrite,
            resume=resume,
            threads=threads,
            max_memory=max_memory,
            shard_size=shard_size,
            progress=follow,
        )
    seconds = time.perf_counter() - start
    changed = len(touched_by(model, adapters))
    data = {**data_of(result, seconds), "changed": changed}
    answer = Answer("lora apply", data, _text(result, changed, seconds), notes=result.notes)
    return deliver(answer, common)


def _text(result: MergeResult, changed: int, seconds: float) -> Iterator[str]:
    """What became of the tensors: a merge counts those that it computed, which says nothing of the adapters."""
    said = text_of(result, seconds)
    if not result.was_complete:
        next(said)
        kept = result.merged + result.copied - changed
        yield f"{changed:,} tensors changed by the adapters, {kept:,} as in the base"
    yield from said
