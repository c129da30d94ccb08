"""A model behind a URL: a folder that is listed, a folder on a plain web server, or one safetensors file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cuvee.checkpoint import transport
from cuvee.checkpoint.config import CONFIG_LIMIT, Config, read_config
from cuvee.checkpoint.contents import (
    CONVERTED,
    PREFERRED,
    READABLE,
    choose_weights,
    enters_folder,
    is_side_file,
    kind_fault,
    no_weights_fault,
    passed_over,
)
from cuvee.checkpoint.contents import listed as named
from cuvee.checkpoint.opened import Checkpoint
from cuvee.checkpoint.remote_files import RemoteFile, RemoteWeights, open_remote_file, stamp_if_there
from cuvee.checkpoint.remote_side import SideFiles, name_fault
from cuvee.checkpoint.retrying import persistently
from cuvee.checkpoint.sharded import INDEX_LIMIT, check_agreement, read_index
from cuvee.checkpoint.side_files import SIDE_FILE_LIMIT
from cuvee.checkpoint.wire import Stamp
from cuvee.errors import Fault, InputError, attempt

T = TypeVar("T")
S = TypeVar("S")

WELL_KNOWN: Final = (
    *PREFERRED,
    "config.json",
    "adapter_config.json",
    "model_index.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
)
"""What is looked for in a folder that cannot be listed."""

_AT_ONCE: Final = 8
"""Headers or names asked for at a time."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The files of a remote folder by name relative to it, and what to say of how they were found."""

    url: str
    files: Mapping[str, Stamp]
    notes: tuple[str, ...] = field(default=())

    @property
    def top(self) -> list[str]:
        """The names directly in the folder."""
        return sorted(name for name in self.files if "/" not in name)


def open_url(url: str, label: str) -> Checkpoint:
    """Open the model behind a URL: headers, index and configuration are fetched, tensors are not.

    Args:
        url: of a folder, or of one safetensors file.
        label: the model's name in messages.

    Raises:
        InputError: with every fault that was found; `not-yet` for pickled weights, which cannot be read in parts.
    """
    if url.lower().endswith((*READABLE, *CONVERTED)):
        return _open_file(url, label)
    folder = _look_into(url.rstrip("/"))
    if fault := kind_fault(folder.top, folder.url):
        raise InputError(fault)
    choice = choose_weights(folder.top)
    if choice is None:
        raise InputError(no_weights_fault(folder.top, folder.url))
    if not choice.file.endswith((".safetensors", ".safetensors.index.json")):
        raise InputError(_pickled(f"{folder.url}/{choice.file}"))
    sides = SideFiles(folder.url)
    try:
        faults: list[Fault] = []
        files = attempt(lambda: _open_weights(folder, choice.file, sides), faults)
        config = attempt(lambda: _read_config(folder, sides), faults)
        side_files = sides.of({name: mark for name, mark in folder.files.items() if is_side_file(name)}, faults)
        if faults or files is None:
            raise InputError(faults)
    except BaseException:
        sides.close()
        raise
    over = passed_over(folder.top, (choice.file, *files))
    notes = (*choice.notes, *folder.notes, *((f"passed over: {named(over)}",) if over else ()))
    return Checkpoint(label, _Held(files, sides), config, None, side_files, notes)


class _Held(RemoteWeights):
    """Weights whose model also has a folder of fetched side files, which goes when they do."""

    def __init__(self, files: Mapping[str, RemoteFile], sides: SideFiles) -> None:
        super().__init__(files)
        self._sides = sides

    def close(self) -> None:
        """Let go of what was fetched."""
        super().close()
        self._sides.close()


def _open_file(url: str, label: str) -> Checkpoint:
    """A single weight file: a bare state dict."""
    if not url.lower().endswith(".safetensors"):
        raise InputError(_pickled(url))
    return Checkpoint(label, RemoteWeights({url: open_remote_file(url)}))


def _pickled(url: str) -> Fault:
    message = f"{url}: weights of this kind cannot be read in parts; a model behind a URL is made of .safetensors files"
    return Fault("not-yet", message, subject=url, hint="download the model, and name its folder")


def _look_into(url: str) -> _Found:
    """The files of a folder; where the store cannot list, those of the well-known names that are there."""
    top = persistently(lambda: transport.list_folder(url), url, url)
    if top is None:
        return _probe(url)
    files: dict[str, Stamp] = {}
    waiting = [("", top)]
    while waiting:
        prefix, entries = waiting.pop()
        for name, mark in entries.items():
            if mark is not None:
                files[prefix + name] = mark
            elif enters_folder(name):
                waiting.append((f"{prefix}{name}/", _list(f"{url}/{prefix}{name}")))
        if len(files) + len(waiting) > SIDE_FILE_LIMIT:
            message = f"{url}: a model has at most {SIDE_FILE_LIMIT:,} files, this folder has more"
            hint = "name the model's own folder, not one above it"
            raise InputError(Fault("not-a-checkpoint", message, subject=url, hint=hint))
    if faults := [fault for name in sorted(files) if (fault := name_fault(url, name))]:
        raise InputError(faults)
    return _Found(url, files)


def _list(url: str) -> dict[str, Stamp | None]:
    return persistently(lambda: transport.list_folder(url), url, url) or {}


def _probe(url: str) -> _Found:
    """Ask for every well-known name. A store may refuse what is not there, so only what matters is held against it."""
    answers = dict(zip(WELL_KNOWN, _at_once(lambda name: _ask(f"{url}/{name}"), WELL_KNOWN)))
    found = {name: answer for name, answer in answers.items() if isinstance(answer, Stamp)}
    refused = {name: answer for name, answer in answers.items() if isinstance(answer, Fault)}
    if refused and (choose_weights(found) is None or "config.json" in refused):
        raise InputError(refused.get("config.json") or next(iter(refused.values())))
    notes = [f"{url} cannot be listed: files of well-known names were looked for, and no others"]
    notes += [f"{url} refuses, or does not have: {named(list(refused))}"] if refused else []
    return _Found(url, found, tuple(notes))


def _ask(url: str) -> Stamp | Fault | None:
    """What a file is, that access to it is refused, or nothing."""
    try:
        return stamp_if_there(url)
    except InputError as error:
        if error.code != "remote-denied":
            raise
        return error.faults[0]


def _open_weights(folder: _Found, choice: str, sides: SideFiles) -> dict[str, RemoteFile]:
    """The weight file, or all files that an index names."""
    if not choice.endswith(".index.json"):
        return {choice: open_remote_file(f"{folder.url}/{choice}", folder.files[choice])}
    with sides.told():
        index = sides.fetch(choice, folder.files[choice], INDEX_LIMIT)
        where = read_index(index)
        names = sorted(set(where.values()))
        files = _open_all(folder, names)
        if faults := check_agreement(index, where, {name: files[name].specs for name in names}):
            raise InputError(faults)
    return files


def _open_all(folder: _Found, names: Sequence[str]) -> dict[str, RemoteFile]:
    """Read the headers of several files; the faults of all of them are told."""
    faults: list[Fault] = []

    def read(name: str) -> RemoteFile | None:
        return attempt(lambda: open_remote_file(f"{folder.url}/{name}", folder.files.get(name)), faults)

    opened = dict(zip(names, _at_once(read, names)))
    if faults:
        raise InputError(sorted(faults, key=lambda fault: fault.message))
    return {name: file for name, file in opened.items() if file is not None}


def _read_config(folder: _Found, sides: SideFiles) -> Config | None:
    if "config.json" not in folder.files:
        return None
    with sides.told():
        return read_config(sides.fetch("config.json", folder.files["config.json"], CONFIG_LIMIT))


def _at_once(step: Callable[[S], T], given: Sequence[S]) -> list[T]:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cuvee-remote") as pool:
        return list(pool.map(step, given))
