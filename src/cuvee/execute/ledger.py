"""What a run keeps account of while it goes: fingerprints of all that is read and written, and how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from cuvee.checkpoint.digest import TensorHash, digest_cuts
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.journal import Entry
from cuvee.checkpoint.protocol import Filler, Reader
from cuvee.execute.resume import NOTHING, Finished, Notes, Range
from cuvee.planning.model import Piece, Plan, Step
from cuvee.types import DTYPES

_Key = TypeVar("_Key", Piece, str)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: bytes of output written, of how many, and the tensor they belong to, or what is done before."""

    done: int
    total: int
    tensor: str


@dataclass(frozen=True, slots=True)
class Digests:
    """Fingerprints of every input tensor read and of every output tensor written, and what was taken over.

    Attributes:
        inputs: by input tensor.
        outputs: by output tensor.
        resumed_ranges: ranges that an earlier run had finished.
        resumed_bytes: their bytes.
    """

    inputs: Mapping[Piece, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    resumed_ranges: int = 0
    resumed_bytes: int = 0


class Ledger:
    """Takes note of every tile that is read for the first time and of every tile written; safe from any thread.

    Args:
        plan: what is done.
        hashes: whether fingerprints are wanted.
        progress: told of every tile written.
        journal: where finished ranges are noted.
        finished: what an earlier run finished.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        hashes: bool,
        progress: Callable[[Progress], None] | None,
        journal: Notes | None = None,
        finished: Finished = NOTHING,
    ) -> None:
        self._journal = journal
        self._finished = finished
        self._hashes = hashes
        self._progress = progress
        self._total = sum(step.out.nbytes for step in plan.steps)
        self._resumed = sum(finished.elements(s.out.name) * DTYPES[s.out.dtype].size for s in plan.steps)
        self._done = self._resumed
        self._lock = threading.Lock()
        self._read: dict[Piece, TensorHash] = {}
        self._written: dict[str, TensorHash] = {}
        self._claimed: set[Piece] = set()
        self._inputs: dict[Piece, str] = {}
        self._outputs: dict[str, str] = {}
        if hashes:
            for step in plan.steps:
                self._recall(step)
        if progress and self._resumed:
            progress(Progress(self._done, self._total, ""))

    def _recall(self, step: Step) -> None:
        """Take over the fingerprints of what is finished of a tensor."""
        for entry in self._finished.entries.get(step.out.name, ()):
            numel = step.out.numel
            pairs = [(_room_for(self._read, piece, numel), known) for piece, known in zip(step.pieces, entry.read)]
            pairs.append((_room_for(self._written, step.out.name, numel), entry.written))
            for found, digests in pairs:
                if digests:
                    found.take(entry.start, entry.stop, digests)

    @property
    def digests(self) -> Digests:
        """All fingerprints of completed tensors."""
        return Digests(self._inputs, self._outputs, self._finished.ranges, self._resumed)

    def left(self, step: Step, ranges: Sequence[Range]) -> Sequence[Range]:
        """What is still to be written of some ranges of a step's output: whole blocks, as all tiles are."""
        return self._finished.left(step.out.name, ranges)

    def read(self, piece: Piece, numel: int, start: int, values: Tensor) -> None:
        """A tile of an input, as it lies in the file, while it is in the processor's cache."""
        if self._hashes and piece not in self._claimed:
            values = values.contiguous()  # named, because its bytes are looked at and not kept alive by that
            _room_for(self._read, piece, numel).add(start, tensor_bytes(values), values.element_size())

    def looking_at(self, what: str) -> None:
        """Something is looked at before anything is written."""
        if self._progress:
            with self._lock:
                self._progress(Progress(self._done, self._total, what))

    def written(self, step: Step, start: int, values: Tensor) -> None:
        """A tile of an output, as it was written."""
        if self._hashes:
            self._note(step, start, values.contiguous())
        if self._progress:
            with self._lock:
                self._done += values.numel() * values.element_size()
                self._progress(Progress(self._done, self._total, step.out.name))

    def _note(self, step: Step, start: int, values: Tensor) -> None:
        """Hash a tile once, for the tensor's fingerprint and for the journal."""
        name, stop = step.out.name, start + values.numel()
        digests = digest_cuts(start, tensor_bytes(values), values.element_size())
        _room_for(self._written, name, step.out.numel).take(start, stop, digests)
        if self._journal is not None:
            hashes = [self._read.get(piece) for piece in step.pieces]
            read = tuple(b"" if passed is None else passed.known(start, stop) for passed in hashes)
            self._journal.note(Entry(name, start, stop, digests, read))

    def complete(self, step: Step, readers: Sequence[Reader], writer: Filler) -> None:
        """A step is complete; what did not pass through in whole chunks is read again for its fingerprint."""
        if not self._hashes:
            return
        for piece in (*step.pieces, *step.must_equal, *step.collected):
            claimed, passed = self._claim(piece)
            if claimed:
                again = readers[piece.model].digest
                self._inputs[piece] = (passed and passed.hexdigest()) or again(piece.tensor)
        passed = self._written.pop(step.out.name, None)
        self._outputs[step.out.name] = (passed and passed.hexdigest()) or writer.digest(step.out.name)

    def _claim(self, piece: Piece) -> tuple[bool, TensorHash | None]:
        """Whether the fingerprint of an input is the caller's to take, and what passed through of it.

        Steps that share an input may be completed at once: one of them takes it.
        """
        with self._lock:
            if piece in self._claimed:
                return False, None
            self._claimed.add(piece)
            return True, self._read.pop(piece, None)


def _room_for(hashes: dict[_Key, TensorHash], key: _Key, numel: int) -> TensorHash:
    """The hash of a tensor, which the first tile makes: it has room for every chunk."""
    return hashes.get(key) or hashes.setdefault(key, TensorHash(numel))  # of two first tiles one makes it
