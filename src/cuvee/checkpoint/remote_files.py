"""Safetensors files behind URLs: opening reads their headers, reading brings ranges of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cuvee.checkpoint import transport
from cuvee.checkpoint.blocks import KEPT_BYTES, BlockCache
from cuvee.checkpoint.digest import CHUNK, digest_chunks
from cuvee.checkpoint.flat import check_range, writable_bytes
from cuvee.checkpoint.format import LENGTH_BYTES, header_length, parse_header
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Placed
from cuvee.checkpoint.retrying import persistently, remote_fault
from cuvee.checkpoint.stored import torch_dtype
from cuvee.checkpoint.wire import Stamp, WireError
from cuvee.errors import Fault, InputError
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

FIRST_READ: Final = 1 << 17
"""Bytes of a weight file asked for first: nearly every header is shorter, so one request does."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A weight file of which the header has been read."""

    url: str
    stamp: Stamp
    tensors: tuple[Placed, ...]

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Every tensor by name, in the order of their bytes."""
        return {placed.spec.name: placed.spec for placed in self.tensors}


class RemoteWeights:
    """The tensors of one model's files behind URLs; see `Weights` for what each method promises."""

    def __init__(self, files: Mapping[str, RemoteFile]) -> None:
        self._stamps = {file.url: file.stamp for file in files.values()}
        self._placed = {placed.spec.name: (file, placed) for file in files.values() for placed in file.tensors}
        self._blocks = BlockCache(lambda url, begin, end: read_range(url, begin, end, self._stamps[url]))
        self._closed = False

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, file by file."""
        return {name: placed.spec for name, (_, placed) in self._placed.items()}

    @property
    def shared(self) -> Mapping[str, str]:
        """None: no two tensors of a file may hold the same bytes."""
        return {}

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files; the store's own mark of a version is all that is known of one."""
        names: dict[str, set[str]] = {url: set() for url in self._stamps}
        for name, (file, _) in self._placed.items():
            names[file.url].add(name)
        marks = self._stamps.items()
        return tuple(InputFile(url, {"size": m.size, "tag": m.tag}, {}, frozenset(names[url])) for url, m in marks)

    @property
    def held(self) -> int:
        """The blocks that are kept, and those under way."""
        return KEPT_BYTES

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included), in memory of their own."""
        import torch

        spec = self._placed[name][1].spec
        check_range(name, start, stop, spec.numel)
        values = torch.empty(stop - start, dtype=torch_dtype(spec.dtype), device="cpu")
        if start < stop:
            self.read_into(name, start, stop, writable_bytes(values))
        return values

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """Fill writable bytes with those of elements `start` to `stop` (not included), as they stand in the file."""
        if self._closed:
            raise ValueError(f"`{name}` is read of a model that is closed")
        file, placed = self._placed[name]
        check_range(name, start, stop, placed.spec.numel)
        at = placed.begin + start * DTYPES[placed.spec.dtype].size
        self._blocks.read_into(file.url, file.stamp.size, at, into.cast("B"))

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""
        spec = self._placed[name][1].spec
        return digest_chunks(spec.numel, DTYPES[spec.dtype].size, self._chunks(spec))

    def check_unchanged(self) -> None:
        """Refuse what was read if a file is not the one whose header was read; all that changed are told."""
        faults = [fault for url, before in self._stamps.items() if (fault := change_fault(url, before))]
        if faults:
            raise InputError(faults)

    def close(self) -> None:
        """Let go of what was fetched; tensors handed out stay good."""
        self._closed = True
        self._blocks.close()

    def _chunks(self, spec: TensorSpec) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(CHUNK, spec.numel) * DTYPES[spec.dtype].size))
        for start in range(0, spec.numel, CHUNK):
            stop = min(start + CHUNK, spec.numel)
            piece = buffer[: (stop - start) * DTYPES[spec.dtype].size]
            self.read_into(spec.name, start, stop, piece)
            yield piece


def open_remote_file(url: str, known: Stamp | None = None) -> RemoteFile:
    """Read and check the header of a weight file, by one range or two.

    Raises:
        InputError: it is missing, unreadable or damaged.
    """
    stamp = known or find_stamp(url)
    first = min(FIRST_READ, stamp.size)
    start = read_range(url, 0, first, stamp) if first else b""
    end = LENGTH_BYTES + header_length(start, stamp.size, url)
    text = start if end <= first else start + read_range(url, first, end, stamp)
    return RemoteFile(url, stamp, parse_header(text[LENGTH_BYTES:end], stamp.size, url).tensors)


def find_stamp(url: str) -> Stamp:
    """Size and tag of a remote file.

    Raises:
        InputError: it is missing, or the store does not say.
    """
    return persistently(lambda: transport.stamp(url), url, url)


def stamp_if_there(url: str) -> Stamp | None:
    """Size and tag of a remote file; `None` where there is none.

    Raises:
        InputError: the store does not say.
    """
    try:
        return find_stamp(url)
    except InputError as error:
        if error.code != "model-missing":
            raise
        return None


def read_range(url: str, begin: int, end: int, known: Stamp) -> bytes:
    """Bytes `begin` to `end` (not included) of a remote file.

    Raises:
        InputError: it is missing, has changed, or does not come however often it is asked for.
    """
    what = f"bytes {begin:,} to {end:,} of {url}"
    return persistently(lambda: transport.read(url, begin, end, known), what, url)


def change_fault(url: str, before: Stamp) -> Fault | None:
    """The fault of a file that has changed or gone since its header was read."""
    try:
        now = find_stamp(url)
    except InputError as error:
        if error.code != "model-missing":
            raise
        now = None
    return None if now == before else remote_fault(WireError("changed", "it has changed"), url, url)
