"""Plan, merge and look at models on disk.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.api.arguments import (
    AnyRecipe,
    as_model,
    as_path,
    as_recipe,
    callback_faults,
    refuse,
    switch_faults,
)
from cuvee.api.far_output import merge_far
from cuvee.errors import Fault, InputError, number_faults
from cuvee.types import ModelRef, scheme_of

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.execute import Progress, Runner
    from cuvee.execute.compare import Comparison
    from cuvee.execute.verify import Verification
    from cuvee.planning import Plan
    from cuvee.planning.inspect import Inspection
    from cuvee.recipe import Recipe


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge wrote.

    Attributes:
        path: the output folder; its URL as it was given, if it is one.
        merged, copied, tied: number of tensors by what became of them.
        lost: input tensors that nothing was done with, counted independently; 0 in every merge.
        left_out: input tensors that the recipe's slices do not ask for.
        nbytes: bytes of weights written.
        record: the content of `cuvee.json`.
        notes: what the user should know.
    """

    path: Path | str
    merged: int
    copied: int
    tied: int
    lost: int
    left_out: int
    nbytes: int
    record: Mapping[str, Any]
    notes: tuple[str, ...]


@contextmanager
def opened(refs: Sequence[ModelRef], root: Path | None, *, weights: bool = True) -> Iterator[list[Reader]]:
    """Open several models, headers only, and close them afterwards.

    Args:
        refs: the models.
        root: folder that relative paths start from.
        weights: `False` when only headers will be needed: nothing large is fetched from the hub.

    Raises:
        InputError: the faults of all models that cannot be opened.
    """
    from cuvee.checkpoint import open_checkpoint

    readers: list[Reader] = []
    faults: list[Fault] = []
    try:
        for ref in refs:
            try:
                readers.append(open_checkpoint(ref, root, hub_download=weights))
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError(faults)
        yield readers
    finally:
        for reader in readers:
            reader.close()


def plan(recipe: AnyRecipe) -> Plan:
    """Decide everything that will be done, from headers only.

    Args:
        recipe: what would be merged.

    Raises:
        UsageError: `recipe` is no recipe, mapping or path.
        RecipeError: faults of the recipe.
        InputError: models that are missing, damaged or do not fit each other; all faults.
    """
    from cuvee.planning import bind, referenced

    asked = as_recipe(recipe)
    with opened(referenced(asked), asked.root, weights=False) as readers:
        return bind(asked, readers, methods.get(asked.method).spec)


def merge(
    recipe: AnyRecipe,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    seed: int = 0,
    threads: int | None = None,
    tile: int | None = None,
    shard_size: str | int = "5GB",
    allow_nonfinite: bool = False,
    sha256: bool = False,
    runner: Runner = "threaded",
    progress: Callable[[Progress], None] | None = None,
    staging: str | os.PathLike[str] | None = None,
    sending: Callable[[int, int, str], None] | None = None,
) -> MergeResult:
    """Merge models into a new folder, which appears complete or not at all.

    Args:
        recipe: what to merge.
        out: the folder to make; or a URL such as `s3://bucket/prefix` or `hf://org/name`, to which the result is sent.
        overwrite: replace a model folder that is there already.
        seed: seed of random masks (DARE), any integer.
        threads: workers, 1 or more; one per core by default.
        tile: elements per tile, 1 or more; changes memory and speed, never a byte.
        shard_size: largest weight file, in bytes or as `"5GB"`, `"500MB"`, `"2GiB"`.
        allow_nonfinite: merge inputs that hold NaN or infinity.
        sha256: also take the SHA-256 of the weight files written.
        runner: `plain` merges tensor by tensor, whole: slower, and the definition of correct.
        progress: called as the work goes on, from any thread.
        staging: for a URL, the folder to build in, which is kept; a temporary one by default.
        sending: for a URL, called with bytes sent, bytes in all and the file at hand, from any thread.

    Raises:
        UsageError: an argument is of the wrong type, `threads` or `tile` is below 1, `shard_size` is no size, `runner`
            is unknown, or `out` is empty.
        RecipeError: faults of the recipe.
        InputError: faults of the models.
        OutputExists: `out` is there and `overwrite` is not given.
        ResourceError: not enough disk, or no right to write.
    """
    from cuvee.checkpoint import FolderWriter, parse_size, plan_layout
    from cuvee.execute import execute
    from cuvee.execute.publish import add_everything_else
    from cuvee.planning import bind, referenced

    if isinstance(out, str) and scheme_of(out) is not None:
        build = partial(merge, recipe, seed=seed, threads=threads, tile=tile, shard_size=shard_size, sha256=sha256)
        build = partial(build, allow_nonfinite=allow_nonfinite, runner=runner, progress=progress)
        return merge_far(out, staging, overwrite, build, sending)
    place = as_path(out, "out", "the output must be a folder's name")
    size = parse_size(shard_size)
    refuse(
        [
            *number_faults(seed=seed, threads=threads, tile=tile),
            *switch_faults(overwrite=overwrite, allow_nonfinite=allow_nonfinite, sha256=sha256),
            *callback_faults(progress),
        ]
    )
    asked = as_recipe(recipe)
    method = methods.get(asked.method)
    with opened(referenced(asked), asked.root) as readers:
        bound = bind(asked, readers, method.spec)
        layout = plan_layout([step.out for step in bound.steps], size)
        protected = [*_read_from(recipe, asked), *(r.folder for r in readers if r.folder is not None)]
        with FolderWriter(layout, place, overwrite=overwrite, protected=protected) as writer:
            digests = execute(
                bound,
                readers,
                writer,
                method,
                seed=seed,
                threads=threads,
                tile=tile,
                allow_nonfinite=allow_nonfinite,
                runner=runner,
                progress=progress,
            )
            record = add_everything_else(bound, readers, writer, layout, digests, method.spec, seed=seed, sha256=sha256)
            writer.publish()
    counts = (bound.merged, bound.copied, len(bound.tied), bound.lost, bound.left_out)
    return MergeResult(place, *counts, layout.nbytes, record, bound.notes)


def _read_from(given: AnyRecipe, recipe: Recipe) -> list[Path]:
    """Every file and folder of this machine that a merge reads, and that its output must not replace."""
    from cuvee.checkpoint.folder import local_path
    from cuvee.planning import referenced

    models = [local_path(ref.path, recipe.root) for ref in referenced(recipe)]
    own = [Path(given)] if isinstance(given, str | os.PathLike) else []
    links = [file.resolve() for model in models if model.is_dir() for file in model.iterdir() if file.is_symlink()]
    return [path for path in (*models, *own, *links) if path.exists()]


def verify(path: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check a model folder: readable, complete, finite, tied, as recorded, loadable.

    The record holds hashes of everything else and none of itself: damage and slips are found, and who changes a file
    and its hash alike is not.

    Args:
        path: a model folder or weight file.
        progress: called with tensors looked at and their number.

    Raises:
        UsageError: `path` is empty or no path.
        InputError: there is nothing at `path`.
    """
    from cuvee.execute.verify import verify_folder

    folder = as_path(path, "path", "a model must be a folder or weight file")
    refuse(callback_faults(progress))
    return verify_folder(folder, progress)


def inspect(model: str | os.PathLike[str]) -> Inspection:
    """Say what a model is, from its headers.

    Args:
        model: a model folder, a weight file, a hub id with or without `@revision`, or a URL of a folder or file.

    Raises:
        UsageError: `model` is empty or no path, or its revision is empty.
        InputError: it cannot be read.
    """
    from cuvee.planning.inspect import inspect_reader

    with opened([as_model(model)], None, weights=False) as readers:
        return inspect_reader(readers[0])


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two models layer by layer, or their deltas from a base.

    Args:
        a: one model, as for `inspect`.
        b: the other.
        base: what both were fine-tuned from.
        progress: called with tensors compared and their number.

    Raises:
        UsageError: a model is empty or no path, or its revision is empty.
        InputError: a model cannot be read.
    """
    from cuvee.execute.compare import compare

    refs = [as_model(m) for m in (a, b, *([] if base is None else [base]))]
    refuse(callback_faults(progress))
    with opened(refs, None) as readers:
        return compare(readers[0], readers[1], readers[2] if base is not None else None, progress)
