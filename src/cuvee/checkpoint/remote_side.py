"""The small files of a model behind a URL, fetched into a folder of our own when they are needed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from weakref import finalize

from cuvee.checkpoint.blocks import BLOCK
from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.protocol import SideFile
from cuvee.checkpoint.remote_files import change_fault, read_range
from cuvee.checkpoint.wire import Stamp
from cuvee.errors import Fault, InputError

SIDE_LIMIT: Final = 1_000_000_000
"""Bytes that one file beside remote weights may have; they go through a temporary folder."""


class SideFiles:
    """A temporary folder for small files of one remote folder; it goes when it is closed, at the latest at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        with told("make a temporary folder in", tempfile.gettempdir()):
            self._folder = Path(tempfile.mkdtemp(prefix="cuvee-remote-"))
        self._finalizer = finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def fetch(self, name: str, known: Stamp, limit: int = SIDE_LIMIT) -> Path:
        """The file's own copy here, after fetching it if it has not been.

        Args:
            name: its name relative to the remote folder.
            known: what it was when it was found.
            limit: bytes it may have.

        Raises:
            InputError: it is larger, or cannot be fetched.
            ResourceError: it cannot be written here.
        """
        path = self._folder / name
        if path.exists():
            return path
        if fault := self._size_fault(name, known, limit):
            raise InputError(fault)
        url = f"{self._url}/{name}"
        part = path.with_name(f"{path.name}.part")
        with told("write", part):
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as copy:
                for at in range(0, known.size, BLOCK):
                    copy.write(read_range(url, at, min(at + BLOCK, known.size), known))
            if fault := change_fault(url, known):  # a store's ranges do not say which version they are of
                raise InputError(fault)
            part.rename(path)
        return path

    def of(self, files: Mapping[str, Stamp], faults: list[Fault]) -> tuple[SideFile, ...]:
        """Side files that are fetched when an output takes them; those that are too large are faults."""
        faults += [fault for name, known in files.items() if (fault := self._size_fault(name, known, SIDE_LIMIT))]
        return tuple(self._side_file(name, known) for name, known in sorted(files.items()))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Name the remote folder, and not its copy here, in what goes wrong inside."""
        try:
            yield
        except InputError as error:
            raise InputError(self._renamed(fault) for fault in error.faults) from None

    def close(self) -> None:
        """Remove the folder."""
        self._finalizer()

    def _side_file(self, name: str, known: Stamp) -> SideFile:
        return SideFile(name, self._folder / name, known.size, fetch=lambda: self.fetch(name, known))

    def _size_fault(self, name: str, known: Stamp, limit: int) -> Fault | None:
        if known.size <= limit:
            return None
        message = f"{self._url}/{name}: a file beside the weights has at most {limit:,} bytes, this one {known.size:,}"
        return Fault("not-a-checkpoint", message, subject=name, hint="download the model, and name its folder")

    def _renamed(self, fault: Fault) -> Fault:
        here = str(self._folder)
        subject = fault.subject and fault.subject.replace(here, self._url)
        return replace(fault, message=fault.message.replace(here, self._url), subject=subject)


def name_fault(url: str, name: str) -> Fault | None:
    """A fault for a name that a store can hold and that would lead out of a folder, or hide in it."""
    parts = name.split("/")
    if name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts):
        return None
    message = f"{url}: a file's name should stay in its folder and be printable, found {name[:200]!r}"
    return Fault(
        "unsafe-link", message, subject=url, hint="remove or rename the file, or download the model's own files"
    )
