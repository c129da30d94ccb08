"""What a checkpoint must be able to do, whatever it is stored in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cuvee.checkpoint.identity import InputFile
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class SideFile:
    """A file that is not weights (tokenizer, remote code, licence …); `name` is relative to the folder, with `/`.

    `node`, device and inode of the file that was found, guards against another one that takes its name before it is
    copied.
    One of a remote model is not at `path` before `fetched` has been called; `size` is known without.
    """

    name: str
    path: Path
    size: int | None = None
    node: tuple[int, int] | None = field(default=None, compare=False)
    fetch: Callable[[], Path] | None = field(default=None, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size if self.size is None else self.size

    def fetched(self) -> Path:
        """The file on this machine, after bringing it here if it is remote."""
        return self.path if self.fetch is None else self.fetch()


class Reader(Protocol):
    """A checkpoint opened for reading; opening reads headers only, and pickles of the oldest format whole."""

    @property
    def label(self) -> str:
        """The model's name in messages, as the recipe wrote it."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by on-disk name, in on-disk order."""

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one under a second name: that name → the first name (pickles and memory can say)."""

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The parsed `config.json`, or `None` for a bare state dict."""

    @property
    def config_text(self) -> str | None:
        """`config.json` as it stands on disk, or `None`."""

    @property
    def folder(self) -> Path | None:
        """The folder the checkpoint lies in; `None` in memory or for a single file."""

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files to carry over into an output, `config.json` not among them."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the checkpoint was read (files passed over, nesting undone …)."""

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files its tensors are read from, as they were when they were opened; none in memory."""

    @property
    def held(self) -> int:
        """Bytes of memory, other than file cache, that it keeps while it is open; not those of its caller."""

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor in row-major order, shape `[stop - start]`, own dtype.

        The result may be a view of the file: it must not be written to.
        """

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The same elements as raw, little-endian bytes, put into writable memory of their size."""

    def digest(self, name: str) -> str:
        """The fingerprint (hex) of the tensor's bytes; see `checkpoint.digest`."""

    def check_unchanged(self) -> None:
        """Refuse what was read if something has written to the files since they were opened.

        Raises:
            InputError: `io-error`, for every file that changed.
        """

    def close(self) -> None:
        """Let go of files and maps; reading afterwards is an error."""


class Filler(Protocol):
    """Tensors being filled."""

    def write(self, name: str, start: int, values: Tensor) -> None:
        """Put flat `values` (already in the tensor's dtype) at element `start` of a tensor; safe from any thread."""

    def digest(self, name: str) -> str:
        """The fingerprint (hex) of the tensor's bytes as written; call it when the tensor is complete."""


class Writer(Filler, Protocol):
    """A checkpoint being written: the layout is fixed first, tensors are filled in any order, then all is published."""

    def add_text(self, name: str, text: str) -> None:
        """Add a small text file to the output."""

    def add_file(self, file: SideFile) -> str:
        """Copy a side file into the output, byte for byte; gives xxh3-128 (hex) of the bytes."""

    def publish(self) -> None:
        """Make everything durable and visible at once; nothing is visible before."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor's place in a file: `begin` and `end` are byte offsets from the start of the file."""

    spec: TensorSpec
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Shard:
    """One weight file of an output: its name, complete header bytes, tensors and total size in bytes."""

    name: str
    header: bytes
    tensors: tuple[Placed, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every byte of an output will stand, known before the first is written."""

    shards: tuple[Shard, ...]
    index: str | None = field(default=None, repr=False)

    @property
    def specs(self) -> Iterable[TensorSpec]:
        """All tensors, shard by shard."""
        return (placed.spec for shard in self.shards for placed in shard.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of all weight files, headers included."""
        return sum(shard.nbytes for shard in self.shards)
