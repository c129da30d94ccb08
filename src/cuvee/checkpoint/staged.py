"""The weight files of an output that is being built: at their final size from the start, written in any order."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvee.checkpoint.digest import CHUNK, digest_chunks, digest_cuts, has_cuts
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.layout import format_size
from cuvee.checkpoint.os_errors import HINTS, resource_error, told
from cuvee.checkpoint.protocol import Layout, Placed, Shard
from cuvee.checkpoint.ranges import read_into, read_pieces
from cuvee.checkpoint.syncing import SyncAhead, read_from_disk
from cuvee.checkpoint.written import check_values
from cuvee.errors import Fault, ResourceError
from cuvee.types import DTYPES

if TYPE_CHECKING:
    from torch import Tensor

# File systems that cannot reserve blocks say so in one of these ways.
_NO_ALLOCATION: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class StagedFiles:
    """The weight files, open.

    Args:
        layout: where every byte will stand.
        staging: the folder they are built in.
        shown: the folder that messages call them by.
    """

    def __init__(self, layout: Layout, staging: Path, shown: Path) -> None:
        self._layout = layout
        self._staging = staging
        self._shown = shown
        self._where: dict[str, tuple[str, Placed]] = {
            placed.spec.name: (shard.name, placed) for shard in layout.shards for placed in shard.tensors
        }
        self._files: dict[str, int] = {}
        # Systems let one write into a file at a time. Waiting for it here costs nothing; in there it may cost a core,
        # because the waiting call spins.
        self._turns = {shard.name: threading.Lock() for shard in layout.shards}
        self._ahead = SyncAhead()

    @property
    def names(self) -> frozenset[str]:
        """Names of the files."""
        return frozenset(shard.name for shard in self._layout.shards)

    def create(self) -> None:
        """Make every file at its final size with its header in place."""
        for shard in self._layout.shards:
            with told("make room for", self._shown / shard.name):
                self._files[shard.name] = _create(self._staging / shard.name)
                allocate(self._files[shard.name], shard.nbytes)
                _write_all(self._files[shard.name], memoryview(shard.header), 0)

    def attach(self) -> bool:
        """Open the files that are there; `False`, and none is open, unless all have their planned size and header."""
        for shard in self._layout.shards:
            with told("open", self._shown / shard.name):
                descriptor = _open_planned(self._staging / shard.name, shard)
            if descriptor is None:
                self._close_files()
                return False
            self._files[shard.name] = descriptor
        return True

    def attach_again(self) -> bool:
        """Open the files anew: only then does a network file system promise to show what other machines wrote."""
        self._close_files()
        return self.attach()

    def read_from_disk(self) -> None:
        """Have what is read back of the files be what the disk holds, and not what was to be written to it."""
        for name, descriptor in self._files.items():
            with told("make durable", self._shown / name):
                read_from_disk(descriptor)

    def write(self, name: str, start: int, values: Tensor) -> None:
        """Put flat `values`, of the tensor's own dtype, at element `start` of a tensor; safe from any thread."""
        file, placed = self._where[name]
        check_values(placed.spec, start, values)
        self._check_durable()
        if values.device.type != "cpu" or not values.is_contiguous() or values.is_conj() or values.is_neg():
            values = values.cpu().resolve_conj().resolve_neg().contiguous()
        at = placed.begin + start * DTYPES[placed.spec.dtype].size
        with told("write", self._shown / file), self._turns[file]:
            _write_all(self._descriptor(file), tensor_bytes(values), at)
        self._ahead.wrote(file, self._descriptor(file), values.nbytes)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes, read back from the file."""
        file, placed = self._where[name]
        with told("read", self._shown / file):
            size = DTYPES[placed.spec.dtype].size
            chunks = read_pieces(self._descriptor(file), placed.begin, placed.end, CHUNK * size)
            return digest_chunks(placed.spec.numel, size, chunks)

    def holds(self, name: str, start: int, stop: int, digests: bytes) -> bool:
        """Whether the bytes of a range, read back from the file, are those that had these `digest_cuts`."""
        file, placed = self._where.get(name, ("", None))
        if placed is None or not 0 <= start < stop <= placed.spec.numel:
            return False
        size = DTYPES[placed.spec.dtype].size
        descriptor, begin = self._descriptor(file), placed.begin
        buffer = memoryview(bytearray(min(stop - start, CHUNK) * size))

        def digest_of(first: int, last: int) -> bytes:
            data = buffer[: (last - first) * size]
            read_into(descriptor, data, begin + first * size)
            return digest_cuts(first, data, size)

        with told("read", self._shown / file):
            return has_cuts(start, stop, digests, digest_of)

    def finish(self) -> None:
        """Let go of all files; raise what went wrong with bytes that were thought to be written."""
        try:
            self._ahead.finish()
            self._check_durable()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of all files, also where closing one of them fails."""
        self._ahead.stop()
        self._close_files()

    def _check_durable(self) -> None:
        if (failed := self._ahead.failed) is not None:
            raise resource_error(failed.error, "make durable", self._shown / failed.name) from failed.error

    def _close_files(self) -> None:
        self._ahead.forget()
        errors: list[ResourceError] = []
        while self._files:
            name, descriptor = self._files.popitem()
            try:
                with told("close", self._shown / name):
                    os.close(descriptor)
            except ResourceError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _descriptor(self, file: str) -> int:
        if file not in self._files:
            raise RuntimeError("the writer is not open")
        return self._files[file]


def is_as_planned(layout: Layout, folder: Path) -> bool:
    """Whether the weight files of a folder have their planned size and header."""
    for shard in layout.shards:
        with (folder / shard.name).open("rb") as file:
            if os.fstat(file.fileno()).st_size != shard.nbytes or file.read(len(shard.header)) != shard.header:
                return False
    return True


def check_space(layout: Layout, folder: Path) -> None:
    """Refuse to begin what cannot end; other programs may still fill the disk, so files are allocated too."""
    with told("look at the space of", folder):
        free = shutil.disk_usage(folder).free
    if layout.nbytes > free:
        message = f"the output needs {format_size(layout.nbytes)} in {folder}, {format_size(free)} are free"
        raise ResourceError(Fault("disk-full", message, None, str(folder), HINTS["disk-full"]))


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _open_planned(path: Path, shard: Shard) -> int | None:
    """A file open for writing, if it is there and as it was made."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    planned = False
    try:
        header = os.pread(descriptor, len(shard.header), 0)
        planned = os.fstat(descriptor).st_size == shard.nbytes and header == shard.header
    finally:
        if not planned:
            os.close(descriptor)
    return descriptor if planned else None


def allocate(descriptor: int, nbytes: int) -> None:
    """Give a file its final size, and its blocks where the system and the file system can reserve them.

    Raises:
        OSError: there is no room for it, or what else the system says.
    """
    reserve = getattr(os, "posix_fallocate", None)  # not everywhere: macOS has none
    try:
        if reserve is not None:
            reserve(descriptor, 0, nbytes)
            return
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise
    os.ftruncate(descriptor, nbytes)  # the space is then only claimed as it is written


def _write_all(descriptor: int, data: memoryview, at: int) -> None:
    """Write all bytes: one call may take fewer, over 2 GiB always does."""
    while data:
        count = os.pwrite(descriptor, data, at)
        data, at = data[count:], at + count
