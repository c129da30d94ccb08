"""What a run keeps account of while it goes: fingerprints of all that is read and written, and how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from cuvee.checkpoint.digest import TensorHash
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.protocol import Reader, Writer
from cuvee.planning.model import Piece, Plan, Step

_Key = TypeVar("_Key", Piece, str)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: bytes of output written, of how many, and the tensor they belong to."""

    done: int
    total: int
    tensor: str


@dataclass(frozen=True, slots=True)
class Digests:
    """Fingerprints of every input tensor read and of every output tensor written."""

    inputs: Mapping[Piece, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


class Ledger:
    """Takes note of every tile that is read for the first time and of every tile written; safe from any thread.

    Args:
        plan: what is done.
        hashes: whether fingerprints are wanted.
        progress: told of every tile written.
    """

    def __init__(self, plan: Plan, *, hashes: bool, progress: Callable[[Progress], None] | None) -> None:
        self._hashes = hashes
        self._progress = progress
        self._total = sum(step.out.nbytes for step in plan.steps)
        self._done = 0
        self._lock = threading.Lock()
        self._read: dict[Piece, TensorHash] = {}
        self._written: dict[str, TensorHash] = {}
        self._inputs: dict[Piece, str] = {}
        self._outputs: dict[str, str] = {}

    @property
    def digests(self) -> Digests:
        """All fingerprints of completed tensors."""
        return Digests(self._inputs, self._outputs)

    def read(self, piece: Piece, numel: int, start: int, values: Tensor) -> None:
        """A tile of an input, as it lies in the file, while it is in the processor's cache."""
        if self._hashes and piece not in self._inputs:
            _hash(self._read, piece, numel, start, values)

    def written(self, step: Step, start: int, values: Tensor) -> None:
        """A tile of an output, as it was written."""
        if self._hashes:
            _hash(self._written, step.out.name, step.out.numel, start, values)
        if self._progress:
            with self._lock:
                self._done += values.numel() * values.element_size()
                self._progress(Progress(self._done, self._total, step.out.name))

    def complete(self, step: Step, readers: Sequence[Reader], writer: Writer) -> None:
        """A step is complete; what did not pass through in whole chunks is read again for its fingerprint."""
        if not self._hashes:
            return
        for piece in (*step.pieces, *step.must_equal):
            if piece not in self._inputs:
                passed = self._read.pop(piece, None)
                again = readers[piece.model].digest
                self._inputs[piece] = (passed and passed.hexdigest()) or again(piece.tensor)
        passed = self._written.pop(step.out.name, None)
        self._outputs[step.out.name] = (passed and passed.hexdigest()) or writer.digest(step.out.name)


def _hash(hashes: dict[_Key, TensorHash], key: _Key, numel: int, start: int, values: Tensor) -> None:
    """Take a tile into the hash of its tensor, which the first tile makes: it has room for every chunk."""
    found = hashes.get(key) or hashes.setdefault(key, TensorHash(numel))  # of two first tiles one makes it
    values = values.contiguous()  # named, because its bytes are looked at and not kept alive by that
    found.add(start, tensor_bytes(values), values.element_size())
