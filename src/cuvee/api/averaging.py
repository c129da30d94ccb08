"""Averages along a training run: SWA, LAWA, EMA over the checkpoints that a trainer left.

Each is a `linear` recipe with weights of a certain form, and `merge` does the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_path, refuse, switch_faults
from cuvee.api.merging import MergeResult, merge
from cuvee.api.recalibrating import BATCH_SIZE, Data
from cuvee.api.trajectory import (
    DECAY,
    Kind,
    Saved,
    Selection,
    choose,
    find_saved,
    is_unfinished,
    kind_faults,
    selection_faults,
    weights_for,
    whole,
)
from cuvee.errors import InputError, listed
from cuvee.recipe import ModelEntry, Recipe
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.execute import Kernels, Progress

Models = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""The folder of a run, or checkpoints: folders and weight files."""


@dataclass(frozen=True, slots=True)
class Weighted:
    """A checkpoint with its share of the average; `step` is the number in its name."""

    path: Path
    step: int | None
    weight: float


@dataclass(frozen=True, slots=True)
class AverageRecipe:
    """An average as it would be made.

    Attributes:
        recipe: the `linear` recipe, the newest checkpoint first: its files go beside the weights.
        checkpoints: what is averaged, oldest first; the weights add up to 1.
        skipped: checkpoints that are not whole and were passed over.
    """

    recipe: Recipe
    checkpoints: tuple[Weighted, ...]
    skipped: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        over = f"passed over, because they are not whole: {', '.join(self.skipped)}"
        alone = f"one checkpoint was chosen, and the average is that one: {self.checkpoints[0].path}"
        return (*((over,) if self.skipped else ()), *((alone,) if len(self.checkpoints) == 1 else ()))


@dataclass(frozen=True, slots=True)
class AverageResult:
    """What was averaged and written.

    Attributes:
        checkpoints: what was averaged, oldest first; the weights add up to 1.
        skipped: checkpoints that are not whole and were passed over.
        merge: the merge that made it.
        notes: what the user should know, the merge's own notes among it.
    """

    checkpoints: tuple[Weighted, ...]
    skipped: tuple[str, ...]
    merge: MergeResult
    notes: tuple[str, ...]

    @property
    def path(self) -> Path | str:
        """The output folder."""
        return self.merge.path

    @property
    def record(self) -> Mapping[str, Any]:
        """The content of `cuvee.json`."""
        return self.merge.record


def average_recipe(
    models: Models,
    *,
    last: int | None = None,
    from_step: int | None = None,
    to_step: int | None = None,
    every: int | None = None,
    everything: bool = False,
    kind: Kind = "uniform",
    decay: float | None = None,
    skip_incomplete: bool = False,
    dtype: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> AverageRecipe:
    """Find the checkpoints of a run and write down their average as a recipe; only headers are read.

    Args:
        models: the folder of a run, or checkpoints, as for `average`.
        last: only the last k.
        from_step: only checkpoints from this number on.
        to_step: only checkpoints up to this number.
        every: only every n-th.
        everything: all of them.
        kind: the form of the weights.
        decay: of `ema`.
        skip_incomplete: pass over checkpoints that are not whole.
        dtype: float dtype of the result.
        root: folder that the recipe's paths should start from; the working folder by default.

    Raises:
        UsageError, InputError: as for `average`.
    """
    asked = Selection(last, from_step, to_step, every, everything)
    refuse([*selection_faults(asked), *kind_faults(kind, decay), *switch_faults(skip_incomplete=skip_incomplete)])
    folder = None if root is None else as_path(root, "root", "model paths must start from a folder")
    saved, in_run = find_saved(models)
    chosen, skipped = _whole_ones(saved, asked, in_run, skip_incomplete)
    weights = weights_for(kind, len(chosen), DECAY if decay is None else decay)
    weighted = tuple(Weighted(one.path, one.step, weight / sum(weights)) for one, weight in zip(chosen, weights))
    seen = [ModelRef(_seen_from(one.path, folder)) for one in chosen]
    entries = [ModelEntry(ref, {"weight": weight}) for ref, weight in zip(seen, weights)]
    recipe = Recipe("linear", tuple(entries[::-1]), parameters={"normalize": True}, dtype=dtype, root=folder)
    return AverageRecipe(recipe, weighted, tuple(path.name for path in skipped))


def average(
    models: Models,
    out: str | os.PathLike[str],
    *,
    last: int | None = None,
    from_step: int | None = None,
    to_step: int | None = None,
    every: int | None = None,
    everything: bool = False,
    kind: Kind = "uniform",
    decay: float | None = None,
    skip_incomplete: bool = False,
    recalibrate: Data | None = None,
    batch_size: int = BATCH_SIZE,
    dtype: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    threads: int | None = None,
    max_memory: str | int | None = None,
    shard_size: str | int = "5GB",
    allow_nonfinite: bool = False,
    sha256: bool = False,
    kernels: Kernels = "auto",
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> AverageResult:
    """Average checkpoints of a training run into a new folder (docs/average.md).

    Configuration, tokenizer and other files come from the newest checkpoint; the trainer's own state is left behind.

    Args:
        models: the folder of a run, in which checkpoints are found by their names and ordered by their numbers; or
            several checkpoints, which are ordered by the numbers in their names, or, where they have none, as given.
        out: the folder to make, or a URL.
        last: only the last k of those chosen, 1 or more.
        from_step: only checkpoints whose number is this or larger.
        to_step: only checkpoints whose number is this or smaller.
        every: only every n-th of these, counted back from the newest.
        everything: all of them. Of the checkpoints of a run, something must be chosen.
        kind: `uniform`, the mean (SWA, LAWA); `ema`, an exponential moving average over checkpoints; `linear`, weights
            that grow evenly.
        decay: of `ema`, in (0, 1); 0.9 without it.
        skip_incomplete: pass over checkpoints that are not whole, as a trainer that died leaves them.
        recalibrate: data to estimate the statistics of BatchNorm layers on; as for `merge`.
        batch_size: as for `merge`.
        dtype: float dtype of the result; that of the checkpoints without it.
        overwrite: as for `merge`.
        resume: as for `merge`.
        threads: as for `merge`.
        max_memory: as for `merge`.
        shard_size: as for `merge`.
        allow_nonfinite: as for `merge`.
        sha256: as for `merge`.
        kernels: as for `merge`.
        device: as for `merge`.
        progress: as for `merge`.

    Raises:
        UsageError: an argument is wrong, nothing is chosen, or more are asked for than there are.
        RecipeError: `dtype` is none, or a checkpoint is named twice.
        InputError: there are no checkpoints; one is missing, not whole, holds only an adapter, or does not fit the
            others.
        OutputExists, ResourceError: as for `merge`.
    """
    made = average_recipe(
        models,
        last=last,
        from_step=from_step,
        to_step=to_step,
        every=every,
        everything=everything,
        kind=kind,
        decay=decay,
        skip_incomplete=skip_incomplete,
        dtype=dtype,
    )
    done = merge(
        made.recipe,
        out,
        overwrite=overwrite,
        resume=resume,
        threads=threads,
        max_memory=max_memory,
        shard_size=shard_size,
        allow_nonfinite=allow_nonfinite,
        sha256=sha256,
        kernels=kernels,
        device=device,
        progress=progress,
        recalibrate=recalibrate,
        batch_size=batch_size,
    )
    notes = (*made.notes, *done.notes, *_statistics_notes(done.record))
    return AverageResult(made.checkpoints, made.skipped, replace(done, notes=notes), notes)


def _whole_ones(
    saved: Sequence[Saved], asked: Selection, in_run: bool, skip_incomplete: bool
) -> tuple[list[Saved], list[Path]]:
    """The chosen checkpoints, and those that were passed over because they are not whole.

    Raises:
        InputError: the faults of every chosen checkpoint that cannot be opened.
    """
    if not skip_incomplete:
        chosen, bad = whole(choose(saved, asked, in_run=in_run))
        _refuse_broken(bad.values())
        return chosen, []
    good, bad = whole(saved)
    _refuse_broken(error for error in bad.values() if not is_unfinished(error))
    if not good:
        _refuse_broken(bad.values())
    chosen = choose(good, asked, in_run=in_run)
    return chosen, list(bad)


def _refuse_broken(errors: Any) -> None:
    faults = [fault for error in errors for fault in error.faults]
    if faults:
        hint = "a checkpoint that is still being written, or was never finished, is passed over with --skip-incomplete"
        more = [
            replace(f, hint=f"{f.hint}; {hint}" if f.hint else hint) if f.code != "adapter-input" else f for f in faults
        ]
        raise InputError(more)


def _seen_from(path: Path, root: Path | None) -> str:
    """A path as a recipe in `root` names it."""
    return str(path) if root is None or path.is_absolute() else os.path.relpath(path, root)


def _statistics_notes(record: Mapping[str, Any]) -> list[str]:
    """What is to be said of BatchNorm statistics in the output."""
    from cuvee.execute.batchnorm import statistics_in

    kept = statistics_in(record["output"]["tensors"])
    if "recalibrated" in record:
        kept = record["recalibrated"]["kept"]
    if not kept:
        return []
    return [
        f"{len(kept)} running means and variances of BatchNorm layers are averages of the checkpoints' own, which are "
        f"wrong for the averaged weights ({listed(kept)}); their counts of batches are the newest checkpoint's. "
        "Estimate them on training data: --recalibrate DATA (docs/average.md)"
    ]
