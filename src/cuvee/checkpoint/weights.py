"""What holds tensors, whatever the file format: the part of a checkpoint that is not config and side files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cuvee.checkpoint.identity import InputFile
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class Weights(Protocol):
    """Tensors by name, read a piece at a time; see `Reader` for what each method promises."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name."""

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one under a second name."""

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files, as they were when they were opened."""

    @property
    def held(self) -> int:
        """Bytes of memory, other than file cache, that are kept while it is open."""

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included)."""

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The same elements as raw, little-endian bytes, put into writable memory of their size."""

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""

    def close(self) -> None:
        """Let go of the files."""


def open_weights(path: Path) -> tuple[Weights, tuple[str, ...]]:
    """Open one weight file by its ending, with the notes on how it was read."""
    from cuvee.checkpoint.pickled import PickleFile
    from cuvee.checkpoint.stored import SafetensorsFile

    if path.suffix.lower() == ".safetensors":
        return SafetensorsFile(path), ()
    legacy = PickleFile(path)
    return legacy, legacy.notes
