"""A safetensors file read through a memory map: opening reads the header, reading copies nothing."""

from __future__ import annotations

import mmap
import os
import platform
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from cuvee.checkpoint.digest import CHUNK, digest_chunks
from cuvee.checkpoint.flat import check_range
from cuvee.checkpoint.format import read_header
from cuvee.checkpoint.protocol import Placed
from cuvee.errors import Fault, InputError
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAP_LIMIT: Final = 256
"""Files mapped at a time: each map holds a file descriptor, of which a process often has 1024."""

# A private writable map counts against memory in full unless told otherwise, so that a shard larger than memory and
# swap could not be mapped at all. Python names the flag from 3.13 on; its value differs on rarer processors.
_NORESERVE: Final[int] = getattr(mmap, "MAP_NORESERVE", 0x4000 if platform.machine() in ("x86_64", "aarch64") else 0)

Identity = tuple[int, int, int, int]


class _Maps:
    """The maps of the files read last; the one unused for longest is let go first, and all of a file that is gone.

    A map is never closed, only forgotten: torch keeps the object behind its views alive but not the memory, so that
    closing under a view would crash the process, while a forgotten map goes with its last view.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._maps: WeakKeyDictionary[SafetensorsFile, mmap.mmap] = WeakKeyDictionary()

    def get(self, file: SafetensorsFile) -> mmap.mmap:
        with self._lock:
            found = self._maps.pop(file, None) or _map(file)
            self._maps[file] = found  # put back as the newest
            while len(self._maps) > self._limit:
                self._maps.pop(next(self._maps.keys()), None)
            return found

    def forget(self, file: SafetensorsFile) -> None:
        with self._lock:
            self._maps.pop(file, None)


_MAPS: Final = _Maps(MAP_LIMIT)


class SafetensorsFile:
    """One safetensors file. Raises `InputError` (`bad-header`, `truncated`) when it cannot be what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = _identity(path.stat())
        self._placed: Mapping[str, Placed] = {placed.spec.name: placed for placed in read_header(path).tensors}
        self._closed = False

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in the order of their bytes."""
        return {name: placed.spec for name, placed in self._placed.items()}

    @property
    def shared(self) -> Mapping[str, str]:
        """None: no two tensors of a file may hold the same bytes."""
        return {}

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included): a view of the file that must not be written to."""
        import torch

        placed = self._placed[name]
        check_range(name, start, stop, placed.spec.numel)
        dtype = torch_dtype(placed.spec.dtype)
        if start == stop:
            return torch.empty(0, dtype=dtype)
        size = DTYPES[placed.spec.dtype].size
        begin = placed.begin + start * size
        if begin % size:  # other programs may write tensors anywhere; torch wants whole multiples
            return torch.frombuffer(bytearray(self._memory()[begin : placed.begin + stop * size]), dtype=dtype)
        return torch.frombuffer(self._map(), dtype=dtype, count=stop - start, offset=begin)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""
        placed = self._placed[name]
        size = DTYPES[placed.spec.dtype].size
        data = self._memory()[placed.begin : placed.end]
        chunks = (data[at : at + CHUNK * size] for at in range(0, len(data), CHUNK * size))
        return digest_chunks(placed.spec.numel, size, chunks)

    def close(self) -> None:
        """Let go of the map; views handed out stay good."""
        self._closed = True
        _MAPS.forget(self)

    def _map(self) -> mmap.mmap:
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        return _MAPS.get(self)

    def _memory(self) -> memoryview:
        return memoryview(self._map())


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of that name.

    Raises:
        InputError: the installed torch is too old to have it.
    """
    import torch

    found: Any = getattr(torch, name, None)
    if found is None:
        message = f"dtype `{name}` is not known to torch {torch.__version__}"
        raise InputError(Fault("bad-header", message, subject=name, hint="install a newer torch"))
    return found  # type: ignore[no-any-return]


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _map(file: SafetensorsFile) -> mmap.mmap:
    """Map a file whose header has been read; refuse another one that has taken its name since then."""
    try:
        return _map_unchanged(file)
    except OSError as error:
        message = f"could not read {file.path}: {error.strerror or error}"
        raise InputError(Fault("io-error", message, None, str(file.path), "check the file and its rights")) from error


def _map_unchanged(file: SafetensorsFile) -> mmap.mmap:
    with file.path.open("rb") as opened:
        if _identity(os.fstat(opened.fileno())) != file._identity:
            message = f"{file.path} has changed since its header was read"
            hint = "let nothing write to it, and run again"
            raise InputError(Fault("io-error", message, subject=str(file.path), hint=hint))
        if sys.platform != "linux":
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        # Private and writable only because torch warns of memory that is not; nothing ever writes to it.
        flags, access = mmap.MAP_PRIVATE | _NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        return mmap.mmap(opened.fileno(), 0, flags=flags, prot=access)
