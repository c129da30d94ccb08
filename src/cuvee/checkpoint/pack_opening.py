"""Opening one task of a task pack: its form, its files, and the base that they go with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from cuvee.checkpoint.layout import INDEX, SINGLE
from cuvee.checkpoint.pack_fit import fit_faults
from cuvee.checkpoint.pack_form import BASE_MARK, PACK_NAME, PackForm, mask_file, pack_fault, read_pack_form
from cuvee.checkpoint.packed import PackedModel
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.sharded import ShardedWeights
from cuvee.checkpoint.side_files import allowed_roots, link_fault
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.checkpoint.weights import Weights
from cuvee.errors import Fault, InputError, nearest
from cuvee.types import ModelRef

Opener = Callable[[ModelRef, Path | None], Reader]
"""Opens a model as plain floats."""

_SHOWN: Final = 5


def open_task(folder: Path, asked: str, label: str, root: Path | None, opener: Opener) -> PackedModel:
    """Open one task of a pack.

    Args:
        folder: the pack.
        asked: the task; with `?base=PATH` behind it where the base is not where the pack says.
        label: the model's name in messages.
        root: what a relative path of a base that is given starts from.
        opener: what opens the base.

    Raises:
        InputError: `unknown-task`, `bad-pack`, `pack-base`; or what the files' own readers raise.
    """
    form = read_pack_form(folder)
    name, mark, elsewhere = asked.partition(BASE_MARK)
    if name not in form.tasks:
        hint = nearest(name, form.tasks)
        message = f"{label}: the pack holds no task `{name}`; name one of its {len(form.tasks)}"
        raise InputError(Fault("unknown-task", message, subject=label, hint=hint))
    deltas, masks = open_deltas(folder), _open_masks(folder, name)
    base = open_base(folder, form, opener, ModelRef(elsewhere) if mark else None, root)
    if faults := list(fit_faults(folder, form, form.tasks[name], base, deltas.specs, masks.specs)):
        base.close()
        raise InputError(faults[:_SHOWN])
    return PackedModel(label, folder, form, form.tasks[name], (base, deltas, masks))


def open_deltas(folder: Path) -> Weights:
    """The delta that all tasks of a pack share."""
    _check_links(folder, (path.name for path in folder.glob("model*.safetensors*")))
    if (folder / INDEX).is_file():
        return ShardedWeights(folder / INDEX)
    return _file(folder / SINGLE)


def _open_masks(folder: Path, task: str) -> SafetensorsFile:
    _check_links(folder, [mask_file(task)])
    return _file(folder / mask_file(task))


def _check_links(folder: Path, names: Iterable[str]) -> None:
    faults = [f for name in names if (f := link_fault(folder / name, name, allowed_roots(folder)))]
    if faults:
        raise InputError(faults)


def _file(path: Path) -> SafetensorsFile:
    if not path.is_file():
        raise InputError(pack_fault(path, "is not there"))
    return SafetensorsFile(path)


def open_base(
    folder: Path, form: PackForm, opener: Opener, elsewhere: ModelRef | None = None, root: Path | None = None
) -> Reader:
    """Open the base of a pack, where the pack says or elsewhere.

    A pack that came from somebody else must not make this machine ask any address: a base behind a URL is opened only
    where the user names it.

    Raises:
        InputError: `pack-base`: it is not there.
    """
    if elsewhere is not None:
        return opener(elsewhere, root)
    if form.base_kind == "local":
        path = folder / form.base_path
        if not path.exists():
            raise InputError(_no_base(folder, f"looked for it at {path}"))
        return opener(ModelRef(str(path)), None)
    if form.base_kind == "url":
        raise InputError(_no_base(folder, f"it is at {form.base_path}, and no URL is opened because a pack says so"))
    try:
        return opener(ModelRef(form.base_path, form.base_revision), folder)
    except InputError as error:
        said = "; ".join(fault.message for fault in error.faults)
        raise InputError(_no_base(folder, f"looked for {form.base_path} on the hub: {said}")) from error


def _no_base(folder: Path, what: str) -> Fault:
    hint = f"name it: `--base PATH`, or `{folder.name}#TASK{BASE_MARK}PATH` as a model; or change `base` in {PACK_NAME}"
    return Fault("pack-base", f"{folder}: the base of the pack is not there; {what}", subject=str(folder), hint=hint)
