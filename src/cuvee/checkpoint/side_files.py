"""The files beside the weights: which are carried over, and that none leads out of the model's folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cuvee.checkpoint.contents import RECORD_NAME, enters_folder, is_side_file
from cuvee.checkpoint.protocol import SideFile
from cuvee.errors import Fault, InputError

SIDE_FILE_LIMIT: Final = 10_000
"""Side files a model may have; a folder with more is something else that happens to hold weights."""

DEPTH_LIMIT: Final = 50
"""Folders in folders that are looked through."""


def find_side_files(folder: Path) -> tuple[tuple[SideFile, ...], list[Fault]]:
    """The side files of a folder and its sub-folders, sorted by name, and a fault for each that leads outside.

    Raises:
        InputError: `not-a-checkpoint` for more than `SIDE_FILE_LIMIT` files.
    """
    found: list[SideFile] = []
    faults: list[Fault] = []
    allowed = allowed_roots(folder)
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if not is_side_file(name):
            continue
        if fault := link_fault(path, name, allowed):
            faults.append(fault)
        elif node := _node_of(path):
            found.append(SideFile(name, path, node=node))
        if len(found) > SIDE_FILE_LIMIT:
            message = (
                f"{folder}: a model has at most {SIDE_FILE_LIMIT:,} files beside its weights, this folder has more"
            )
            raise InputError(
                Fault("not-a-checkpoint", message, None, str(folder), "put the model in a folder of its own")
            )
    return tuple(sorted(found, key=lambda side: side.name)), faults


def _node_of(path: Path) -> tuple[int, int] | None:
    """Device and inode of a plain file: not of a folder behind a link, nor of a pipe, which would be read for ever."""
    try:
        status = os.lstat(os.path.realpath(path))  # the end of the links that were looked at, not of newer ones
    except OSError:  # gone meanwhile
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _walk(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Every file and every link under a folder; links to folders are given, not entered, outputs of merges left out."""
    if depth > DEPTH_LIMIT:
        message = f"{folder}: the folders of a model stand at most {DEPTH_LIMIT} deep in one another"
        raise InputError(Fault("not-a-checkpoint", message, None, str(folder), "remove it, or name another folder"))
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        elif enters_folder(entry.name) and not (Path(entry.path) / RECORD_NAME).exists():
            yield from _walk(Path(entry.path), depth + 1)


def link_fault(path: Path, name: str, allowed: tuple[Path, ...]) -> Fault | None:
    """A fault for a link that leads anywhere but into the `allowed` folders, or to nothing."""
    if not path.is_symlink():
        return None
    target = _resolved(path)
    if target is not None and any(target.is_relative_to(root) for root in allowed):
        return None
    message = f"{path}: `{name}` must lie in the model's own folder, it is a link to {_target_text(path)}"
    return Fault("unsafe-link", message, subject=name, hint="put a copy of the file in place of the link, or remove it")


def allowed_roots(folder: Path) -> tuple[Path, ...]:
    """The folders that links of a model may lead into: its own, and the blobs of its repository in a hub cache."""
    real = folder.resolve()
    blobs = real.parent.parent / "blobs"
    return (real, blobs.resolve()) if real.parent.name == "snapshots" and blobs.is_dir() else (real,)


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):  # leads nowhere, or in a circle
        return None


def _target_text(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return "an unknown place"
