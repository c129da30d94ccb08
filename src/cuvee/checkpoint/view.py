"""A reader over another one: what a view does not change is said here once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.checkpoint.digest import CHUNK, digest_chunks
from cuvee.checkpoint.flat import copy_bytes, tensor_bytes
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.types import DTYPES, TensorSpec, VocabularyFacts

if TYPE_CHECKING:
    from torch import Tensor


class View:
    """A `Reader` that shows another one, changed in a few things; see the protocol for what each member promises.

    A kind of view says what it changes: `specs`, and `read` for the tensors that `computes` is true of. Everything else
    is the inner reader's own. It is closed with the view.

    Args:
        reader: the model that is shown.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def computes(self, name: str) -> bool:
        """Whether a tensor is worked out by `read`, and not what the inner reader has under this name."""
        raise NotImplementedError

    @property
    def inner(self) -> Reader:
        """The model that is shown."""
        return self._reader

    @property
    def label(self) -> str:
        """The model's name in messages."""
        return self._reader.label

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in on-disk order."""
        return self._reader.specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one under a second name."""
        return self._reader.shared

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The parsed `config.json`."""
        return self._reader.config

    @property
    def config_text(self) -> str | None:
        """`config.json` as it stands on disk."""
        return self._reader.config_text

    @property
    def folder(self) -> Path | None:
        """The folder the checkpoint lies in."""
        return self._reader.folder

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files to carry over."""
        return self._reader.side_files

    @property
    def notes(self) -> tuple[str, ...]:
        """How the checkpoint was read."""
        return self._reader.notes

    @property
    def vocabulary(self) -> VocabularyFacts | None:
        """What there is to say of the vocabularies of a merge, if a view below has merged them."""
        return getattr(self._reader, "vocabulary", None)

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files the tensors are read from."""
        return self._reader.input_files

    @property
    def held(self) -> int:
        """Bytes of memory that it keeps while it is open."""
        return self._reader.held

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor."""
        return self._reader.read(name, start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        if self.computes(name):
            copy_bytes(self.read(name, start, stop), into)
        else:
            self._reader.read_into(name, start, stop, into)

    def digest(self, name: str) -> str:
        """The fingerprint of what reading a tensor brings."""
        if not self.computes(name):
            return self._reader.digest(name)
        spec = self.specs[name]
        return digest_chunks(spec.numel, DTYPES[spec.dtype].size, self._chunks(name, spec.numel))

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""
        self._reader.check_unchanged()

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()

    def _chunks(self, name: str, numel: int) -> Iterator[memoryview]:
        for start in range(0, numel, CHUNK):
            values = self.read(name, start, min(start + CHUNK, numel))
            yield tensor_bytes(values)  # a view of `values`, which lives until the next one is asked for
