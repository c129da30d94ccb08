"""Collect statistics of models from calibration data, for merges that ask for them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_model, as_output, as_path, callback_faults, found, refuse, switch_faults, unfit
from cuvee.api.files import opened
from cuvee.errors import Fault, OutputExists, UsageError, number_faults
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.collecting.collect import Collected

AnyPath = str | os.PathLike[str]
Several = AnyPath | Sequence[AnyPath]


def collect(
    models: Several,
    *,
    data: Several,
    out: AnyPath,
    kind: str = "gram",
    column: str | None = None,
    max_samples: int = 256,
    max_length: int = 512,
    batch_size: int | None = None,
    labels: str = "data",
    seed: int = 0,
    through_merged: bool = False,
    alpha: float = 0.9,
    ridge: float = 0.0,
    overwrite: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Collected, ...]:
    """Run a model once over calibration data and store what a merge wants to know of it.

    Args:
        models: a model's folder or hub id; several with `through_merged`.
        data: JSON lines, lines of text or a table; for several models one file each, or one for all.
        out: the file to make; with `through_merged` the folder of one file per model.
        kind: `gram`, for RegMean, or `fisher`, for Fisher merging.
        column: column of a table, or key of JSON lines, that holds the text; `text` if not given.
        max_samples: most samples, from the start of the data.
        max_length: most tokens of a sample.
        batch_size: samples run at once; samples of one length together if not given.
        labels: what a Fisher predicts: `data`, or what the `model` itself draws.
        seed: of masks and of what the model draws.
        through_merged: take each layer's inputs through the layers merged before, as RegMean++ does.
        alpha: with `through_merged`, what off-diagonal entries are multiplied with, [0, 1].
        ridge: with `through_merged`, what is added to the diagonal, as a share of its mean, ≥ 0.
        overwrite: replace files of statistics that are there.
        progress: called with samples run, their number, and what it is at.

    Returns:
        What was written, one entry for each model.

    Raises:
        UsageError: an argument is wrong, or transformers is not installed.
        InputError: models or data are.
        OutputExists: a file is there already.
        ResourceError: a file cannot be written.
    """
    given, files = _listed(models), _listed(data)
    refuse(
        [
            *_number_of_models(given, files, through_merged, kind),
            *_choice("kind", kind, ("gram", "fisher")),
            *_choice("labels", labels, ("data", "model")),
            *number_faults(seed=seed, max_samples=max_samples, max_length=max_length, batch_size=batch_size),
            *_share_faults(alpha, ridge),
            *switch_faults(through_merged=through_merged, overwrite=overwrite),
            *callback_faults(progress),
            *([] if column is None or (isinstance(column, str) and column) else [unfit("column", "a name", column)]),
        ]
    )
    refs = [as_model(model) for model in given]
    paths = [as_path(file, "data", "calibration data must be a file") for file in files]
    target = as_output(out, "statistics must be written to a file")
    outs = _outs(target, refs) if through_merged else [_file(target)]
    _check_free(outs, overwrite)
    from cuvee.collecting.collect import collect as run
    from cuvee.collecting.subjects import Settings, subjects_of

    settings = Settings(
        kind="gram" if kind == "gram" else "fisher",
        column=column,
        max_samples=max_samples,
        max_length=max_length,
        batch_size=batch_size,
        labels="data" if labels == "data" else "model",
        seed=seed,
        alpha=float(alpha),
        ridge=float(ridge),
    )
    with opened(refs, None) as readers:
        subjects = subjects_of(readers, paths * (len(refs) if len(paths) == 1 else 1), settings)
        return run(subjects, outs, settings, through=through_merged, overwrite=overwrite, follow=progress)


def _listed(given: Several) -> list[AnyPath]:
    return [given] if isinstance(given, str | os.PathLike) or not isinstance(given, Sequence) else list(given)


def _number_of_models(models: Sequence[object], data: Sequence[object], through: object, kind: object) -> list[Fault]:
    """What is wrong with how many models and files there are."""
    faults = []
    if through is True and (len(models) < 2 or kind != "gram"):
        message = f"`through_merged` is for `gram` of two models or more; found {kind!r} of {len(models)}"
        faults.append(Fault("bad-argument", message, subject="through_merged"))
    if through is not True and len(models) != 1:
        message = f"one model is run at a time; found {len(models)}"
        hint = "run it once for each, or say --through-merged for RegMean++"
        faults.append(Fault("bad-argument", message, subject="models", hint=hint))
    if len(data) not in (1, len(models)):
        message = f"`data` must be one file, or one for each of {len(models)} models; found {len(data)}"
        faults.append(Fault("bad-argument", message, subject="data"))
    return faults


def _choice(name: str, value: object, known: tuple[str, ...]) -> list[Fault]:
    if value in known:
        return []
    return [Fault("bad-argument", f"`{name}` must be {' or '.join(known)}; found {found(value)}", subject=name)]


def _share_faults(alpha: object, ridge: object) -> list[Fault]:
    """What is wrong with the two settings of RegMean."""
    faults = []
    for name, value, most, wanted in (("alpha", alpha, 1.0, "in [0, 1]"), ("ridge", ridge, math.inf, "of 0 or more")):
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (good and 0 <= value <= most):  # type: ignore[operator]
            faults.append(
                Fault("bad-argument", f"`{name}` must be a number {wanted}; found {found(value)}", subject=name)
            )
    return faults


def _file(out: Path) -> Path:
    """The file of one model's statistics.

    Raises:
        UsageError: its name does not end as those of safetensors files do.
    """
    if out.suffix == ".safetensors":
        return out
    message = f"a file of statistics should end in .safetensors; found {out}"
    raise UsageError(Fault("bad-argument", message, subject="out", hint=f"say {out}.safetensors"))


def _outs(folder: Path, refs: Sequence[ModelRef]) -> list[Path]:
    """One file per model, called as the model is; where two are called alike, all have their number."""
    names = [Path(ref.path).name or "model" for ref in refs]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names, 1)]
    return [folder / f"{name}.gram.safetensors" for name in names]


def _check_free(outs: Sequence[Path], overwrite: bool) -> None:
    """Refuse files that are there already, all of them, before anything is run."""
    from cuvee.checkpoint.statistics import check_absent

    faults: list[Fault] = []
    for path in outs:
        try:
            check_absent(path, overwrite)
        except OutputExists as error:
            faults += error.faults
    if faults:
        raise OutputExists(faults)
