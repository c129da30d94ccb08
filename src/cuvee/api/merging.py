"""Merge models on disk: a recipe in, a folder out.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee import methods
from cuvee.api.arguments import AnyRecipe, as_path, as_recipe, callback_faults, refuse, switch_faults
from cuvee.api.carrying import Executor, Way, crew_for, filled, form_soon, way_faults
from cuvee.api.far_output import merge_far, staging_faults
from cuvee.api.nesting import files_inside, folder_for, leaves_of, named_inside, nesting_faults
from cuvee.api.recalibrating import BATCH_SIZE, Data, batches_from
from cuvee.errors import number_faults
from cuvee.types import scheme_of

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Layout, Reader
    from cuvee.execute import Digests, Kernels, Progress, Runner
    from cuvee.planning import Plan
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
        resumed_ranges, resumed_bytes: what was taken over from a run that was interrupted.
        was_complete: nothing was done, because the very same merge had made the output before.
        device: where tiles were combined, `cpu` or `cuda:0`; the record does not say, because the bytes are the same.
        device_why: why `auto` chose it.
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
    resumed_ranges: int = 0
    resumed_bytes: int = 0
    was_complete: bool = False
    device: str = "cpu"
    device_why: str = ""


def merge(
    recipe: AnyRecipe,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    seed: int = 0,
    threads: int | None = None,
    tile: int | None = None,
    max_memory: str | int | None = None,
    shard_size: str | int = "5GB",
    allow_nonfinite: bool = False,
    sha256: bool = False,
    runner: Runner = "threaded",
    kernels: Kernels = "auto",
    executor: Executor = "threads",
    address: str | None = None,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    staging: str | os.PathLike[str] | None = None,
    sending: Callable[[int, int, str], None] | None = None,
    recalibrate: Data | None = None,
    batch_size: int = BATCH_SIZE,
    keep_intermediates: str | os.PathLike[str] | None = None,
) -> MergeResult:
    """Merge models into a new folder, which appears complete or not at all.

    Args:
        recipe: what to merge.
        out: the folder to make; or a URL such as `s3://bucket/prefix` or `hf://org/name`, to which the result is sent.
        overwrite: replace a model folder that is there already.
        resume: go on from where a run of the same merge was interrupted, if one was, and keep what is finished if this
            one is. Without it, what such a run left is cleared away.
        seed: seed of random masks (DARE), any integer.
        threads: workers, 1 or more; one per core by default.
        tile: elements per tile, 1 or more; changes memory and speed, never a byte.
        max_memory: most memory besides file cache, in bytes or as `"1GiB"`: workers and tiles are made to fit. Without
            it, half of what is free.
        shard_size: largest weight file, in bytes or as `"5GB"`, `"500MB"`, `"2GiB"`.
        allow_nonfinite: merge inputs that hold NaN or infinity.
        sha256: also take the SHA-256 of the weight files written.
        runner: `plain` merges tensor by tensor, whole: slower, and the definition of correct.
        kernels: `auto`, `fused` or `plain`: which form of the method's arithmetic; never changes a byte.
        executor: `threads` of this process, or `ray`: tasks on the machines of a Ray cluster, which must share the
            folders of the models and of the output. `threads` and `max_memory` are then those of one task.
        address: for `ray`, the cluster: `host:port`, `auto` for the one that is running, which is the default, or
            `local` to start one on this machine for this call.
        device: `cpu`, `cuda`, `cuda:1` … or `auto`: where tiles are combined, which never changes a byte. `auto`
            takes a GPU if one is there and the job is large enough.
        progress: called as the work goes on, from any thread.
        staging: for a URL, the folder to build in, which is kept; a temporary one by default. `resume` needs it, and
            `overwrite` replaces a model in it too.
        sending: for a URL, called with bytes sent, bytes in all and the file at hand, from any thread.
        recalibrate: data to estimate the statistics of BatchNorm layers on, before the output appears
            (docs/average.md): a safetensors file of the model's arguments, a row per example; `module:function`, or a
            function, that gives batches; or the batches themselves. transformers runs the model.
        batch_size: rows of the file that make a batch, 1 or more.
        keep_intermediates: a folder, in which every recipe with a name inside this one is merged into a folder of its
            name first; what the same merge has made there before is taken as it is. Without it nothing but the output
            is written.

    Raises:
        UsageError: an argument is of the wrong type, `threads` or `tile` is below 1, `shard_size` is no size, `runner`
            or `executor` is unknown, `address` is given without Ray, `device` is not there, or `out` is empty; Ray is
            asked for and not installed; `resume` is given for a URL without `staging`.
        RecipeError: faults of the recipe.
        InputError: faults of the models.
        OutputExists: `out` is there and `overwrite` is not given.
        ResourceError: not enough disk or memory, or no right to write; with `resume`, what an interrupted run left is
            of another merge: the recipe, the seed, an input is not what it was; there is no Ray cluster, or its
            workers do not see what this process sees.
    """
    from cuvee.checkpoint import parse_size

    if isinstance(out, str) and scheme_of(out) is not None:
        target = None
    else:
        target = as_path(out, "out", "the output must be a folder's name")
    limit = None if max_memory is None else parse_size(max_memory)
    far = executor, address
    size = parse_size(shard_size)
    way = Way(seed, threads, tile, limit, size, allow_nonfinite, sha256, runner, kernels, device, *far, progress)
    refuse(
        [
            *number_faults(seed=seed, threads=threads, tile=tile, batch_size=batch_size),
            *switch_faults(overwrite=overwrite, resume=resume, allow_nonfinite=allow_nonfinite, sha256=sha256),
            *callback_faults(progress),
            *way_faults(way),
            *staging_faults(str(out) if target is None else None, staging, resume),
        ]
    )
    asked = as_recipe(recipe)
    if recalibrate is not None:
        way = replace(way, recalibration=batches_from(recalibrate, batch_size))
    read = read_from(recipe, asked)
    kept = {} if keep_intermediates is None else _keep(asked, read, keep_intermediates, way, overwrite=overwrite)
    refuse(nesting_faults(asked, kept, executor))
    if target is None:
        again = overwrite and staging is not None  # a folder that is kept may hold what was sent before
        build = partial(_merge_here, asked, read, way=way, overwrite=again, resume=resume, results=kept)
        return merge_far(str(out), staging, overwrite, build, sending)
    return _merge_here(asked, read, target, way, overwrite=overwrite, resume=resume, results=kept)


def _keep(
    recipe: Recipe, read: list[Path], folder: str | os.PathLike[str], way: Way, *, overwrite: bool
) -> dict[str, Path]:
    """Merge every recipe with a name inside one into a folder of its own, and give the folders by name."""
    kept: dict[str, Path] = {}
    for name, inner in named_inside(recipe).items():
        out = folder_for(folder, name)
        whole = replace(inner, folder=None)
        _merge_here(whole, read, out, way, overwrite=overwrite, resume=True, results=kept)
        kept[name] = out
    return kept


def _merge_here(
    recipe: Recipe,
    read: list[Path],
    out: Path,
    way: Way,
    *,
    overwrite: bool = False,
    resume: bool = False,
    results: Mapping[str, Path] | None = None,
) -> MergeResult:
    """Merge into a folder of this machine.

    Args:
        recipe: what to merge.
        read: what the output must not replace.
        out: the folder.
        way: how.
        overwrite: replace a model folder that is there.
        resume: go on from an interrupted run.
        results: folders of recipes inside it that were merged before, by name.
    """
    from cuvee.checkpoint import FolderWriter, plan_layout
    from cuvee.checkpoint.staging import sweep
    from cuvee.execute import Digests
    from cuvee.execute.already import already_made
    from cuvee.execute.batchnorm import check_plan
    from cuvee.execute.opening import opened_for
    from cuvee.execute.place import choose, find
    from cuvee.execute.publish import add_everything_else
    from cuvee.execute.resume import describe, told_to_resume
    from cuvee.execute.settling import settle
    from cuvee.planning import bind

    spec = methods.get(recipe.method).spec
    asked = find(way.device) if way.device.startswith("cuda") else way.device  # before anything is opened
    with opened_for(recipe, seed=way.seed, allow_nonfinite=way.allow_nonfinite, kept=results) as readers:
        plan = bind(recipe, readers, spec)
        if way.recalibration is not None:
            check_plan(plan, readers)
        limits = {"limit": way.limit, "threads": way.threads, "tile": way.tile}
        choice = choose(asked, plan, **limits, runner=way.runner, kernels=way.kernels)
        rest: dict[str, Any] = {"seed": way.seed, "allow_nonfinite": way.allow_nonfinite, "progress": way.progress}
        plan = settle(plan, readers, methods.get(recipe.method), workers=choice.workers, **rest)
        layout = plan_layout([step.out for step in plan.steps], way.shard_bytes)
        told: dict[str, Any] = {"seed": way.seed, "sha256": way.sha256, "recalibration": way.recalibration}
        made = already_made(plan, readers, layout, out, **told) if resume else None
        if made is not None:
            sweep(out)
            return _result(out, plan, layout, made, Digests(), was_complete=True)
        job = describe(plan, readers, layout, seed=way.seed, allow_nonfinite=way.allow_nonfinite)
        protected = [*read, *files_elsewhere(readers)]
        kept = FolderWriter(layout, out, overwrite=overwrite, protected=protected, job=job, resume=resume)
        with form_soon(plan, readers, choice, way) as form, crew_for(way) as crew, told_to_resume(kept), kept as writer:
            digests = filled(plan, readers, writer, layout, job, choice, way, crew or form)
            record = add_everything_else(plan, readers, writer, layout, digests, spec, **told, progress=way.progress)
            writer.publish()
    made_now = _result(out, plan, layout, record, digests)
    notes = (*made_now.notes, *form.notes)
    return replace(made_now, notes=notes, device=choice.name, device_why=choice.why)


def _result(
    out: Path, plan: Plan, layout: Layout, record: Mapping[str, Any], digests: Digests, *, was_complete: bool = False
) -> MergeResult:
    return MergeResult(
        path=out,
        merged=plan.merged,
        copied=plan.copied,
        tied=len(plan.tied),
        lost=plan.lost,
        left_out=plan.left_out,
        nbytes=layout.nbytes,
        record=record,
        notes=tuple(record["notes"]),
        resumed_ranges=digests.resumed_ranges,
        resumed_bytes=digests.resumed_bytes,
        was_complete=was_complete,
    )


def files_elsewhere(readers: Sequence[Reader]) -> list[Path]:
    """The folders of some models, and the files that these read from other folders, such as the base of a pack."""
    folders = [reader.folder for reader in readers if reader.folder is not None]
    files = [Path(file.name) for r in readers if r.folder for file in r.input_files if scheme_of(file.name) is None]
    return [*folders, *(file for file in files if file.parent not in folders)]


def read_from(given: AnyRecipe, recipe: Recipe) -> list[Path]:
    """Every file and folder of this machine that a merge reads, and that its output must not replace."""
    from cuvee.checkpoint.folder import local_path

    models = [local_path(ref.path, root) for ref, root in leaves_of(recipe)]
    own = [Path(given)] if isinstance(given, str | os.PathLike) else []
    own += files_inside(recipe)
    links = [file.resolve() for model in models if model.is_dir() for file in model.iterdir() if file.is_symlink()]
    return [path for path in (*models, *own, *links) if path.exists()]
