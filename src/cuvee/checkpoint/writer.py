"""Writing a model into a folder that is not there until it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from cuvee.checkpoint.copying import copy_hashed
from cuvee.checkpoint.digest import CHUNK, digest_chunks
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.layout import INDEX, format_size
from cuvee.checkpoint.os_errors import HINTS, told
from cuvee.checkpoint.protocol import Layout, Placed, Shard, SideFile
from cuvee.checkpoint.ranges import read_pieces
from cuvee.checkpoint.staging import (
    check_output,
    clear,
    find_places,
    release_lock,
    swap_in,
    sync_folder,
    sync_tree,
    take_lock,
)
from cuvee.checkpoint.written import Written, check_name, check_values
from cuvee.errors import Fault, ResourceError
from cuvee.types import DTYPES

if TYPE_CHECKING:
    from torch import Tensor

# File systems that cannot reserve blocks say so in one of these ways.
_NO_ALLOCATION: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class FolderWriter:
    """A `Writer` into a folder; use it in a `with` block.

    Everything is built in a hidden neighbour of the output, at its final size from the start, and takes the output's
    place when `publish` is called. Leaving the block without it, for whatever reason, leaves no trace.

    Args:
        layout: where every byte will stand.
        out: the output folder; it must not be there, or be empty.
        overwrite: replace a folder that holds a model; the old one stays until the new one is durable.
        protected: files and folders the merge reads; an output that touches one of them is never replaced.

    Raises:
        OutputExists: `output-exists` or `unsafe-overwrite`, on entering or publishing.
        ResourceError: `disk-full`, `file-too-large`, `not-writable`, `output-busy` or `io-error`, from any call.
    """

    def __init__(self, layout: Layout, out: Path, *, overwrite: bool = False, protected: Sequence[Path] = ()) -> None:
        self._layout = layout
        with told("look at", out):
            self._places = find_places(out)
        self._overwrite = overwrite
        self._protected = tuple(protected)
        self._where: dict[str, tuple[str, Placed]] = {
            placed.spec.name: (shard.name, placed) for shard in layout.shards for placed in shard.tensors
        }
        self._written = Written(layout.specs)
        self._files: dict[str, int] = {}
        self._added: set[str] = set()
        self._lock: int | None = None
        self._published = False
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        out = self._places.out
        self._check()
        with told("make the folder", out.parent):
            self._made = _make_folders(out.parent)
        try:
            with told("lock", self._places.lock):
                self._lock = take_lock(self._places)
        except BaseException:
            self._remove_made()
            raise
        try:
            self._stage()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    @property
    def staging(self) -> Path:
        """The hidden folder in which the output is being built."""
        return self._places.staging

    def write(self, name: str, start: int, values: Tensor) -> None:
        """Put flat `values`, of the tensor's own dtype, at element `start` of a tensor; safe from any thread."""
        file, placed = self._where[name]
        check_values(placed.spec, start, values)
        values = values.detach().cpu().resolve_conj().resolve_neg().contiguous()
        at = placed.begin + start * DTYPES[placed.spec.dtype].size
        with told("write", self._places.out / file):
            _write_all(self._descriptor(file), tensor_bytes(values), at)
        self._written.add(name, values.numel())

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes, read back from the file."""
        file, placed = self._where[name]
        with told("read", self._places.out / file):
            size = DTYPES[placed.spec.dtype].size
            chunks = read_pieces(self._descriptor(file), placed.begin, placed.end, CHUNK * size)
            return digest_chunks(placed.spec.numel, size, chunks)

    def add_text(self, name: str, text: str) -> None:
        """Add a small text file, in UTF-8 and with its line ends as they are."""
        with self._adding(name) as path, told("write", self._places.out / name):
            path.write_bytes(text.encode("utf-8"))

    def add_file(self, file: SideFile) -> str:
        """Copy a side file, byte for byte; a link is copied as the file it leads to. Gives xxh3-128 of the bytes."""
        with self._adding(file.name) as path:
            return copy_hashed(file.fetched(), path, self._places.out / file.name)

    def publish(self) -> None:
        """Make everything durable, then visible with one rename.

        Raises:
            RuntimeError: a tensor has not been written in full.
        """
        self._written.check_complete()
        self._close_files()
        with told("make durable", self._places.staging):
            sync_tree(self._places.staging)
        self._check()
        with told("publish", self._places.out):
            swap_in(self._places, overwrite=self._overwrite)
            self._published = True  # from the rename on it stands, durable or not
            for folder in (self._places.out, *self._made):
                sync_folder(folder.parent)

    def _check(self) -> None:
        with told("look at", self._places.out):
            check_output(self._places.out, self._overwrite, self._protected)

    def _stage(self) -> None:
        """Make the staging folder with every weight file at its final size and its header in place."""
        staging = self._places.staging
        with told("clear away what a run that was killed left of", self._places.out):
            clear(self._places)
        self._check()
        _check_space(self._layout, staging.parent)
        with told("make the folder", staging):
            staging.mkdir()
        for shard in self._layout.shards:
            path = staging / shard.name
            with told("make room for", self._places.out / shard.name):
                self._files[shard.name] = _create(path)
                _allocate(self._files[shard.name], shard)
        if self._layout.index is not None:
            self.add_text(INDEX, self._layout.index)

    @contextmanager
    def _adding(self, name: str) -> Iterator[Path]:
        """The path of a file to be added, its folder made; the name is taken once it stands there."""
        check_name(name, {*self._added, *self._files})
        if self._lock is None or self._published:
            raise RuntimeError("the writer is not open")
        path = self._places.staging / name
        with told("make the folder", (self._places.out / name).parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        self._added.add(name)

    def _remove_made(self) -> None:
        """Folders that were made for an output that never came, as long as nobody else uses them."""
        with suppress(OSError):
            for path in [] if self._published else self._made:
                path.rmdir()

    def _descriptor(self, file: str) -> int:
        if file not in self._files:
            raise RuntimeError("the writer is not open")
        return self._files[file]

    def _close_files(self) -> None:
        while self._files:
            name, descriptor = self._files.popitem()
            with told("close", self._places.out / name):
                os.close(descriptor)

    def _leave(self) -> None:
        """Let go of everything; unless published, remove every trace."""
        if self._lock is None:
            return
        with suppress(ResourceError):
            self._close_files()
        lock, self._lock = self._lock, None
        with suppress(OSError):
            try:
                clear(self._places)
            finally:
                release_lock(self._places, lock)
                self._remove_made()


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the ones that were not there, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _check_space(layout: Layout, folder: Path) -> None:
    """Refuse to begin what cannot end; other programs may still fill the disk, so files are allocated too."""
    with told("look at the space of", folder):
        free = shutil.disk_usage(folder).free
    if layout.nbytes > free:
        message = f"the output needs {format_size(layout.nbytes)} in {folder}, {format_size(free)} are free"
        raise ResourceError(Fault("disk-full", message, None, str(folder), HINTS["disk-full"]))


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _allocate(descriptor: int, shard: Shard) -> None:
    """Give a file its final size, its blocks and its header."""
    try:
        os.posix_fallocate(descriptor, 0, shard.nbytes)
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise
        os.ftruncate(descriptor, shard.nbytes)  # the space is then only claimed as it is written
    _write_all(descriptor, memoryview(shard.header), 0)


def _write_all(descriptor: int, data: memoryview, at: int) -> None:
    """Write all bytes: one call may take fewer, over 2 GiB always does."""
    while data:
        count = os.pwrite(descriptor, data, at)
        data, at = data[count:], at + count
