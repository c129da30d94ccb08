"""The files of a saved ensemble: every one is listed with its hash, none leads out of the folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.fingerprint import pieces_of
from cuvee.checkpoint.regular import open_regular
from cuvee.errors import Fault

FORM_NAME: Final = "ensemble.json"
ARRAYS_NAME: Final = "arrays.safetensors"
COMBINER_FOLDER: Final = "combiner"
"""Where the estimator of a combiner is, if it has one; its name where types of it are trusted."""
FILE_LIMIT: Final = 10_000
"""Files an ensemble may have."""
DEPTH_LIMIT: Final = 20
"""Folders in folders."""


def sha256_of(path: Path) -> str:
    """The hash of a plain file.

    Raises:
        OSError: it cannot be read, or is no plain file.
    """
    hasher = hashlib.sha256()
    with open_regular(path) as file:
        for piece in pieces_of(file):
            hasher.update(piece)
    return hasher.hexdigest()


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file; a pipe in its place would be read for ever.

    Raises:
        OSError: it cannot be read, or is no plain file.
    """
    with open_regular(path) as file:
        return file.read()


def listing(folder: Path) -> dict[str, Any]:
    """Name → size and hash, of every file but the form itself."""
    names = sorted(found for found in walk(folder) if found != FORM_NAME)
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}


def walk(folder: Path, inner: str = "", depth: int = 0) -> Iterator[str]:
    """The names, with `/`, of all that is no folder; links are given, not followed.

    Raises:
        ValueError: too many folders in one another.
    """
    if depth > DEPTH_LIMIT:
        raise ValueError(f"folders stand more than {DEPTH_LIMIT} deep in one another")
    with os.scandir(folder / inner) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        at = f"{inner}/{name}" if inner else name
        if is_folder:
            yield from walk(folder, at, depth + 1)
        else:
            yield at


def file_faults(folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Everything in which the files are not those that were saved: links, extra, missing, another size or hash."""
    try:
        there = [name for name in _capped(walk(folder)) if name != FORM_NAME]
    except ValueError as error:
        return [_bad(f"{folder}: {error}", str(folder))]
    faults = [_link(folder, name) for name in there if (folder / name).is_symlink()]
    there = [name for name in there if not (folder / name).is_symlink()]
    faults += [
        _bad(f"{folder} holds the file `{name}`, which was not saved with the ensemble", name, "remove it")
        for name in sorted(set(there) - listed.keys())
    ]
    linked = {fault.subject for fault in faults}
    faults += [
        _bad(f"{folder} must hold the file `{name}`, which is missing", name, "copy the whole folder again")
        for name in sorted(listed.keys() - set(there) - linked)
    ]
    for name in there:
        if name in listed and (fault := _changed(folder, name, listed[name])):
            faults.append(fault)
    return faults


def _capped(names: Iterator[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        if number >= FILE_LIMIT:
            raise ValueError(f"an ensemble has at most {FILE_LIMIT:,} files, this folder has more")
        yield name


def _changed(folder: Path, name: str, said: Mapping[str, Any]) -> Fault | None:
    hint = "copy it again, or save the ensemble again; do not load what you did not change yourself"
    try:
        size = (folder / name).stat().st_size
        if size != said["bytes"]:
            return _bad(f"`{name}` should have {said['bytes']:,} bytes; it has {size:,}", name, hint)
        found = sha256_of(folder / name)
    except OSError as error:
        return _bad(f"`{name}` cannot be read: {error.strerror or error}", name)
    if found == said["sha256"]:
        return None
    return _bad(
        f"`{name}` is not what was saved: its SHA-256 should be {said['sha256'][:12]}…, it is {found[:12]}…", name, hint
    )


def _link(folder: Path, name: str) -> Fault:
    message = f"{folder}: `{name}` must be a file of the ensemble's own folder; it is a link"
    return Fault("unsafe-link", message, None, name, "put a copy of the file in its place, or remove it")


def _bad(message: str, subject: str, hint: str | None = None) -> Fault:
    return Fault("bad-ensemble", message, None, subject, hint)
