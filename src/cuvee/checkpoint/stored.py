"""A safetensors file: opening reads the header, reading brings a range of one tensor."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from cuvee.checkpoint.digest import CHUNK, digest_chunks
from cuvee.checkpoint.flat import check_range, writable_bytes
from cuvee.checkpoint.format import read_header
from cuvee.checkpoint.identity import InputFile, changed, check_unchanged, identity_of, input_file
from cuvee.checkpoint.protocol import Placed
from cuvee.checkpoint.ranges import read_into, read_pieces
from cuvee.errors import Fault, InputError
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OPEN_LIMIT: Final = 256
"""Files kept open at a time, of the 1024 that a process often may have."""


class _Open:
    """A descriptor that is closed when nobody uses it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class _OpenFiles:
    """The files read last; the one unused for longest is let go first, and any that is gone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._files: WeakKeyDictionary[SafetensorsFile, _Open] = WeakKeyDictionary()

    def get(self, file: SafetensorsFile) -> _Open:
        with self._lock:
            found = self._files.pop(file, None) or _open_unchanged(file)
            self._files[file] = found  # put back as the newest
            while len(self._files) > self._limit:
                self._let_go(next(self._files.keys()))
            return found

    def find(self, file: SafetensorsFile) -> _Open | None:
        with self._lock:
            return self._files.get(file)

    def _let_go(self, oldest: SafetensorsFile) -> None:
        if (opened := self._files.pop(oldest, None)) is not None:
            oldest.let_go(opened)

    def forget(self, file: SafetensorsFile) -> None:
        with self._lock:
            self._files.pop(file, None)


_OPEN: Final = _OpenFiles(OPEN_LIMIT)


class SafetensorsFile:
    """One safetensors file. Raises `InputError` (`bad-header`, `truncated`) when it cannot be what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status = path.stat()
        self.identity = identity_of(self._status)
        self._placed: Mapping[str, Placed] = {placed.spec.name: placed for placed in read_header(path).tensors}
        self._closed = False
        self._was_changed = False

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in the order of their bytes."""
        return {name: placed.spec for name, placed in self._placed.items()}

    @property
    def shared(self) -> Mapping[str, str]:
        """None: no two tensors of a file may hold the same bytes."""
        return {}

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The file."""
        return (input_file(self.path, self._status, frozenset(self._placed)),)

    @property
    def held(self) -> int:
        """Nothing: what is read goes into memory of the caller's."""
        return 0

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included), in memory of their own."""
        import torch

        spec = self._placed[name].spec
        check_range(name, start, stop, spec.numel)
        values = torch.empty(stop - start, dtype=torch_dtype(spec.dtype), device="cpu")
        self.read_into(name, start, stop, writable_bytes(values))
        return values

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        placed = self._placed[name]
        check_range(name, start, stop, placed.spec.numel)
        if start < stop:
            self._fill(into, placed.begin + start * DTYPES[placed.spec.dtype].size)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""
        placed = self._placed[name]
        size = DTYPES[placed.spec.dtype].size
        opened = self._opened()
        try:
            chunks = read_pieces(opened.descriptor, placed.begin, placed.end, CHUNK * size)
            return digest_chunks(placed.spec.numel, size, chunks)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def check_unchanged(self) -> None:
        """Refuse what was read if something has written to the file since its header was."""
        if self._was_changed:
            raise InputError(changed(self.path, "while it was read"))
        opened = _OPEN.find(self)
        check_unchanged(self.path, self.identity, None if opened is None else opened.descriptor)

    def let_go(self, opened: _Open) -> None:
        """Look at the file a last time before it is closed for others: by its name it might not be found again."""
        with suppress(OSError):
            self._was_changed |= identity_of(os.fstat(opened.descriptor)) != self.identity

    def close(self) -> None:
        """Let go of the file; tensors handed out stay good."""
        self._closed = True
        _OPEN.forget(self)

    def _fill(self, into: memoryview, at: int) -> None:
        opened = self._opened()  # named, so that it stays open until all is read
        try:
            read_into(opened.descriptor, into, at)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _opened(self) -> _Open:
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        return _OPEN.get(self)


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


def _open_unchanged(file: SafetensorsFile) -> _Open:
    """Open a file whose header has been read; refuse another one that has taken its name since then."""
    try:
        opened = _Open(file.path)
        now = identity_of(os.fstat(opened.descriptor))
    except OSError as error:
        raise _unreadable(file.path, error) from error
    if now != file.identity:
        raise InputError(changed(file.path, "since its header was read"))
    return opened


def _unreadable(path: Path, error: OSError) -> InputError:
    message = f"could not read {path}: {error.strerror or error}"
    return InputError(Fault("io-error", message, None, str(path), "check the file, its disk and its rights"))
