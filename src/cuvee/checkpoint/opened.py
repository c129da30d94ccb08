"""A checkpoint opened for reading: weights, config, side files and notes in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.checkpoint.config import Config
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import SideFile
from cuvee.checkpoint.weights import Weights
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class Checkpoint:
    """A `Reader` over any weights; see the protocol for what each member promises."""

    def __init__(
        self,
        label: str,
        weights: Weights,
        config: Config | None = None,
        folder: Path | None = None,
        side_files: tuple[SideFile, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self._label = label
        self._weights = weights
        self._specs = dict(weights.specs)
        self._config = config
        self._folder = folder
        self._side_files = side_files
        self._notes = notes

    def noting(self, notes: Iterable[str]) -> Checkpoint:
        """The same checkpoint, with more to be told of it; both are closed by closing one."""
        found = copy(self)
        found._notes = (*self._notes, *notes)
        return found

    @property
    def label(self) -> str:
        """The model's name in messages."""
        return self._label

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by on-disk name, in on-disk order."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one under a second name."""
        return self._weights.shared

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The parsed `config.json`."""
        return None if self._config is None else self._config.value

    @property
    def config_text(self) -> str | None:
        """`config.json` as it stands on disk."""
        return None if self._config is None else self._config.text

    @property
    def folder(self) -> Path | None:
        """The folder the checkpoint lies in."""
        return self._folder

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files to carry over."""
        return self._side_files

    @property
    def notes(self) -> tuple[str, ...]:
        """How the checkpoint was read."""
        return self._notes

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files the tensors are read from."""
        return self._weights.input_files

    @property
    def statistics(self) -> str | None:
        """The kind of statistics that it holds, `None` for a model."""
        return getattr(self._weights, "kind", None)

    @property
    def collected_of(self) -> str:
        """Fingerprint of the model that statistics were collected of; empty where there are none, or none is told."""
        return getattr(self._weights, "content", "")

    @property
    def held(self) -> int:
        """Bytes that its weights hold in memory."""
        return self._weights.held

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor."""
        return self._weights.read(name, start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        self._weights.read_into(name, start, stop, into)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""
        return self._weights.digest(name)

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""
        self._weights.check_unchanged()

    def close(self) -> None:
        """Let go of the files."""
        self._weights.close()
