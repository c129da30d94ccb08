"""`cuvee merge`: do what a recipe says."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.failures import Interrupted
from cuvee.cli.options import COMMON, Common, Device, FarOut, MaxMemory, Seed, Switch, Threads, Tile
from cuvee.cli.plan import planned
from cuvee.cli.progress import metered
from cuvee.cli.words import duration, fates

if TYPE_CHECKING:
    from cuvee.api import MergeResult
    from cuvee.execute import Progress


def merge(
    recipe: Path,
    /,
    *,
    out: FarOut,
    overwrite: Switch = False,
    resume: Switch = False,
    staging: Path | None = None,
    seed: Seed = 0,
    threads: Threads = None,
    tile: Tile = None,
    max_memory: MaxMemory = None,
    kernels: Annotated[Literal["auto", "fused", "plain"], Parameter(name="--kernels")] = "auto",
    executor: Literal["threads", "ray"] = "threads",
    address: str | None = None,
    device: Device = "cpu",
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    allow_nonfinite: Switch = False,
    sha256: Switch = False,
    keep_intermediates: Annotated[Path | None, Parameter(name="--keep-intermediates")] = None,
    plain: Switch = False,
    dry_run: Switch = False,
    common: Common = COMMON,
) -> int:
    """Merge models into a new folder, which appears complete or not at all.

    The folder holds the weights, the configuration and tokenizer of the base
    (or first) model, the recipe, and cuvee.json: how it was made and what every
    tensor hashes to.

    For example:

        cuvee merge recipe.yml -o merged
        cuvee merge recipe.yml -o merged --overwrite --seed 7
        cuvee merge recipe.yml -o merged --resume
        cuvee merge recipe.yml -o merged --executor ray --address local
        cuvee merge recipe.yml -o merged --dry-run

    Args:
        recipe: The recipe file.
        out: The folder to make, or a URL such as s3://bucket/prefix to send it to.
        overwrite: Replace a model folder that is there already.
        resume: Go on from where the same merge was interrupted, if it was, and
            keep what is finished if it is now.
        staging: Folder to build in for a URL, and to keep; a temporary one without it.
        seed: Seed of random masks (DARE).
        threads: Workers; one per core without it.
        tile: Elements worked on at a time: memory and speed, never the result.
        max_memory: Most memory besides file cache, such as 1GiB; half of what is
            free without it.
        kernels: Compiled loops or plain torch: speed, never the result. `auto`
            compiles for large jobs only.
        executor: Threads of this process, or `ray`: tasks on a Ray cluster whose
            machines share the folders of the models and of the output.
        address: The Ray cluster: host:port, `auto` for the one that is running, or
            `local` to start one here. `auto` without it.
        device: Where tiles are combined: cpu, cuda, cuda:1 …, or auto, which takes
            a GPU for large jobs if there is one. Speed, never the result.
        shard_size: Largest weight file, such as 5GB, 500MB or 2GiB.
        allow_nonfinite: Merge models that hold NaN or infinity.
        sha256: Record the SHA-256 of the weight files too.
        keep_intermediates: Folder in which every recipe with a name inside this one
            is merged first, into a folder of its name; nothing but the output is
            written without it.
        plain: Merge tensor by tensor, whole: slower, the same result.
        dry_run: Only say what would be done, as `cuvee plan` does.
        common: How to print.
    """
    from cuvee import api
    from cuvee.checkpoint.layout import parse_size

    parse_size(shard_size)  # a dry run tells what a run would
    here = _place_here(out, staging)
    _check_device(device)
    if dry_run:
        return planned("merge", recipe, here, (threads, tile, max_memory), common, overwrite=overwrite)
    from cuvee.execute.heap import give_back_freed_memory, keep_freed_memory

    (keep_freed_memory if max_memory is None else give_back_freed_memory)()
    start = time.perf_counter()
    with honest_interrupt(here), metered("merging", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        def sending(done: int, total: int, name: str) -> None:
            meter(done, total, f"sending {name}")

        result = api.merge(
            recipe,
            out,
            overwrite=overwrite,
            resume=resume,
            seed=seed,
            threads=threads,
            tile=tile,
            max_memory=max_memory,
            kernels=kernels,
            executor=executor,
            address=address,
            device=device,
            shard_size=shard_size,
            allow_nonfinite=allow_nonfinite,
            sha256=sha256,
            runner="plain" if plain else "threaded",
            progress=follow,
            staging=staging,
            sending=sending,
            keep_intermediates=keep_intermediates,
        )
    seconds = time.perf_counter() - start
    answer = Answer("merge", data_of(result, seconds), text_of(result, seconds), notes=result.notes)
    return deliver(answer, common)


def _check_device(device: str) -> None:
    """Refuse a GPU that is not there, in a dry run too."""
    from cuvee.errors import UsageError
    from cuvee.planning.devices import device_faults

    faults = device_faults(device, "threaded", "auto")
    if faults:
        raise UsageError(faults)
    if device.startswith("cuda"):
        from cuvee.execute.place import find

        find(device)


def _place_here(out: Path | str, staging: Path | None) -> Path:
    """Where on this machine an output is built."""
    return out if isinstance(out, Path) else staging or Path(tempfile.gettempdir()) / "cuvee-out"


@contextmanager
def honest_interrupt(out: Path) -> Iterator[None]:
    """Say that the output is there when the interrupt came in the instant after it took its place."""
    before = _identity(out)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if str(interrupt):  # it says itself what there is
            raise
        if (after := _identity(out)) is None or after == before:
            raise
        raise Interrupted(f"interrupted, after {out} was complete") from None


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of what stands at a path, if anything does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def data_of(result: MergeResult, seconds: float) -> dict[str, Any]:
    """What a merge did, ready for JSON."""
    return {
        "path": result.path,
        "counts": result.record["counts"],
        "bytes": result.nbytes,
        "seconds": round(seconds, 3),
        "seed": result.record["seed"],
        "recipe_sha256": result.record["recipe_sha256"],
        "content": result.record["output"]["content"],
        "device": {"used": result.device, "why": result.device_why or None},
        "resumed": {
            "ranges": result.resumed_ranges,
            "bytes": result.resumed_bytes,
            "was_complete": result.was_complete,
        },
        "citations": result.record["citations"],
        "notes": result.notes,
    }


def text_of(result: MergeResult, seconds: float) -> Iterator[str]:
    """What a merge did, in lines."""
    from cuvee.checkpoint.layout import format_size

    if result.was_complete:
        yield f"nothing to do: {result.path} was made by the same merge"
        return
    yield fates(result.merged, result.copied, result.lost, result.tied)
    if result.left_out:
        yield f"{result.left_out:,} tensors of the models are left out by the recipe's slices"
    if result.resumed_bytes:
        yield f"{format_size(result.resumed_bytes)} taken over from the run that was interrupted"
    if result.device_why or result.device != "cpu":
        yield f"combined on {result.device}" + (f": {result.device_why}" if result.device_why else "")
    yield f"written to {result.path} — {format_size(result.nbytes)} in {duration(seconds)}"
