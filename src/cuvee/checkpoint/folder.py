"""From the model a recipe names to a checkpoint opened for reading: a folder, a file, a hub id, or a URL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cuvee.checkpoint.config import Config, read_config
from cuvee.checkpoint.contents import (
    CONVERTED,
    READABLE,
    choose_weights,
    kind_fault,
    listed,
    nested_weights,
    no_weights_fault,
    passed_over,
)
from cuvee.checkpoint.dequantised import as_floats
from cuvee.checkpoint.opened import Checkpoint
from cuvee.checkpoint.pack_form import PACK_NAME, is_pack, read_pack_form
from cuvee.checkpoint.places import is_hub_id as is_hub_id
from cuvee.checkpoint.places import local_path as local_path
from cuvee.checkpoint.places import missing, nearest_sibling
from cuvee.checkpoint.places import task_of_pack as task_of_pack
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.sharded import ShardedWeights
from cuvee.checkpoint.side_files import allowed_roots, find_side_files, link_fault
from cuvee.checkpoint.statistics import StatisticsFile, holds_statistics
from cuvee.checkpoint.weights import Weights, open_weights
from cuvee.errors import Fault, InputError, attempt
from cuvee.types import ModelRef, scheme_of, url_fault


def open_checkpoint(ref: ModelRef, root: Path | None = None, *, hub_download: bool = True) -> Reader:
    """Open the model that a recipe names, as plain floats: FP8 is dequantised as it is read.

    Args:
        ref: the model as the recipe names it.
        root: folder that relative paths start from; `None` is the working folder.
        hub_download: as for `open_stored`.

    Raises:
        InputError: as `open_stored`; and `quantised-input` for a quantised format that is not read, `bad-scale` for
            FP8 weights and scales that do not go together.
    """
    return as_floats(open_stored(ref, root, hub_download=hub_download))


def open_stored(ref: ModelRef, root: Path | None = None, *, hub_download: bool = True) -> Reader:
    """Open a model as it is stored; headers are read, tensors are not.

    A path that exists is taken as it is, as transformers does; anything else that can be a hub id is looked for in
    the hub's cache and on the hub. A link that leads nowhere is neither. A URL is read by ranges where it stands;
    `hf://org/name` is the hub id `org/name`, whatever folders there are.

    Args:
        ref: the model as the recipe names it.
        root: folder that relative paths start from; `None` is the working folder.
        hub_download: whether weights of a hub model may be downloaded. Without, the headers alone are fetched where
            the model is not in the cache, and reading tensors is an error.

    Returns:
        The checkpoint; its label is the model as the recipe wrote it.

    Raises:
        InputError: with every fault that was found: the model is missing, damaged, hostile, or of a kind that is not
            read.
    """
    if ref.adapter is not None:
        return _open_adapted(ref, root, hub_download)
    try:
        return _open_whole(ref, root, hub_download)
    except InputError as error:
        if error.codes != ("adapter-input",):
            raise
    return _open_alone(ref, root, hub_download)


def _open_whole(ref: ModelRef, root: Path | None, hub_download: bool) -> Reader:
    """Open a whole model; a folder that holds an adapter is refused."""
    if scheme_of(ref.path) is not None:
        return _open_url(ref, hub_download)
    path = local_path(ref.path, root)
    if (packed := task_of_pack(ref.path, root)) is not None:
        return _open_task(ref, *packed, root, hub_download)
    try:
        if path.is_dir():
            return open_folder(path, str(ref), _revision_note(ref))
        if path.exists():
            return open_file(path, str(ref), _revision_note(ref))
        if path.is_symlink() or not is_hub_id(ref.path):
            raise InputError(missing(ref, path))
        return _open_hub(ref, path, hub_download)
    except OSError as error:
        message = f"{ref}: could not read {error.filename or path}: {error.strerror or error}"
        raise InputError(Fault("io-error", message, subject=str(ref), hint="check the file and its rights")) from error


def _open_adapted(ref: ModelRef, root: Path | None, download: bool) -> Reader:
    from cuvee.checkpoint.adapter_opening import open_adapted

    return open_adapted(ref, root, lambda base, start: open_checkpoint(base, start, hub_download=download))


def _open_alone(ref: ModelRef, root: Path | None, download: bool) -> Reader:
    """An adapter on the base that it names, which may be no adapter: one could name itself."""
    from cuvee.checkpoint.adapter_opening import open_alone

    return open_alone(ref, root, lambda base, start: as_floats(_open_whole(base, start, download)))


def open_folder(folder: Path, label: str, notes: tuple[str, ...] = ()) -> Checkpoint:
    """Open a folder that holds a model.

    Raises:
        InputError: with the faults of weights, config and side files together.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    if PACK_NAME in names and is_pack(folder):
        raise InputError(_pack_fault(folder, label))
    faults: list[Fault] = []
    weights, read_notes = attempt(lambda: _open_weights(folder, names), faults) or (None, ())
    config = attempt(lambda: _find_config(folder), faults)
    side_files, link_faults = attempt(lambda: find_side_files(folder), faults) or ((), [])
    faults.extend(link_faults)
    if faults or weights is None:
        if weights is not None:
            weights.close()
        raise InputError(faults)
    notes = (*notes, *read_notes, *_carried(side_files))
    return Checkpoint(label, weights, config, folder, side_files, notes)


def open_file(path: Path, label: str, notes: tuple[str, ...] = ()) -> Checkpoint:
    """Open a single weight file: a bare state dict, without config or side files."""
    if path.name.lower().endswith(".gguf"):
        raise InputError(no_weights_fault([path.name], label))
    if not path.is_file() or not path.name.lower().endswith(READABLE):
        message = f"{label}: a weight file ends in {', '.join(READABLE)}, found {path.name}"
        hint = "name the model's folder, or one of its weight files"
        if path.name.lower().endswith(CONVERTED):
            hint = "this is another program's copy of the weights; name the model it was made from"
        raise InputError(Fault("not-a-checkpoint", message, subject=label, hint=hint))
    if holds_statistics(path):
        return Checkpoint(label, StatisticsFile(path), notes=notes)
    weights, read_notes = open_weights(path)
    return Checkpoint(label, weights, notes=(*notes, *read_notes))


def _open_weights(folder: Path, names: Sequence[str]) -> tuple[Weights, tuple[str, ...]]:
    """The weights of a folder, found in the order in which transformers looks for them."""
    if fault := kind_fault(names, str(folder)):
        raise InputError(fault)
    choice = choose_weights(names)
    if choice is None:
        raise InputError(no_weights_fault(names, str(folder)))
    if choice.is_index:
        sharded = ShardedWeights(folder / choice.file)
        return sharded, (*choice.notes, *sharded.notes, *_left_out(names, (choice.file, *sharded.files)))
    weights, notes = open_weights(folder / choice.file)
    return weights, (*choice.notes, *notes, *_left_out(names, (choice.file,)))


def _find_config(folder: Path) -> Config | None:
    path = folder / "config.json"
    if fault := link_fault(path, "config.json", allowed_roots(folder)):
        raise InputError(fault)
    return read_config(path) if path.is_file() else None


def _left_out(names: Sequence[str], used: Sequence[str]) -> tuple[str, ...]:
    over = passed_over(names, used)
    return (f"passed over: {listed(over)}",) if over else ()


def _carried(side_files: Sequence[SideFile]) -> tuple[str, ...]:
    nested = nested_weights(side.name for side in side_files)
    return (f"weights in sub-folders are carried over unmerged: {listed(nested)}",) if nested else ()


def _open_task(ref: ModelRef, folder: Path, task: str, root: Path | None, download: bool) -> Reader:
    """A task of a pack. Its base may be any model but another task: a pack could name itself."""
    from cuvee.checkpoint.pack_opening import open_task

    def open_base(base: ModelRef, start: Path | None) -> Reader:
        if scheme_of(base.path) is None and task_of_pack(base.path, start) is not None:
            message = f"{ref}: the base of a pack must be a whole model, and {base.path} is a task of a pack"
            raise InputError(Fault("pack-base", message, subject=str(ref), hint="write that one out: `cuvee unpack`"))
        return open_checkpoint(base, start, hub_download=download)

    return open_task(folder, task, str(ref), root, open_base)


def _pack_fault(folder: Path, label: str) -> Fault:
    """A pack is no model: its deltas would be taken for weights."""
    tasks = list(read_pack_form(folder).tasks)
    message = f"{label} is a task pack, a model is needed; name one of its tasks: {listed(tasks)}"
    return Fault("not-a-checkpoint", message, subject=label, hint=f"for example `{label}#{tasks[0]}`")


def _revision_note(ref: ModelRef) -> tuple[str, ...]:
    if ref.revision is None:
        return ()
    return (f"revision `{ref.revision}` means nothing for a local path; {ref.path} is read as it stands",)


def _open_url(ref: ModelRef, download: bool) -> Reader:
    """A model behind a URL. The hub has its own way: a cache, commits, consent, and words for what goes wrong."""
    if wrong := url_fault(ref.path):
        raise InputError(Fault("model-missing", f"a model's URL should {wrong}", hint="see docs/remote.md"))
    if scheme_of(ref.path) != "hf":
        from cuvee.checkpoint.remote_folder import open_url

        return open_url(ref.path, str(ref))
    name = ref.path.partition("://")[2].strip("/")
    if not is_hub_id(name):
        message, hint = f"{ref.path}: should be `hf://org/name`, with or without `@revision`", "check the name"
        raise InputError(Fault("model-missing", message, subject=str(ref), hint=hint))
    return _open_hub(ModelRef(name, ref.revision), None, download, str(ref))


def _open_hub(ref: ModelRef, path: Path | None, download: bool, label: str | None = None) -> Reader:
    from cuvee.checkpoint import hub, hub_headers

    try:
        folder = hub.resolve_hub(ref) if download else hub.find_cached(ref)
        return hub_headers.read_headers(ref, label) if folder is None else open_folder(folder, label or str(ref))
    except InputError as error:
        near = None if path is None else nearest_sibling(path)
        if near is None or error.code not in ("model-missing", "offline"):
            raise
        hint = f"if a folder is meant, did you mean `{near}`?"
        raise InputError(_with_hint(fault, hint) for fault in error.faults) from None


def _with_hint(fault: Fault, hint: str) -> Fault:
    return Fault(fault.code, fault.message, fault.place, fault.subject, f"{fault.hint}; {hint}" if fault.hint else hint)
