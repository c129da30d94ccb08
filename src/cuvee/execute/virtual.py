"""The result of a recipe as a model to read: evaluated range by range, never written.

    reading elements [start, stop) = combine(stack of them, what the passes over the whole tensor found), rounded

It has the tensors, dtypes, configuration and files that merging the recipe into a folder would give, and the same
bytes: whatever a method does to a tile, it does here. What the passes find is worked out once per tensor and kept,
within a bound; a method that cannot be taken tile by tile is run on whole tensors, of which the last few are kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.checkpoint.digest import CHUNK, TensorHash
from cuvee.checkpoint.flat import check_range, copy_bytes, tensor_bytes
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.renamed import Renamed
from cuvee.checkpoint.view import View
from cuvee.errors import CuveeError, Fault, InputError
from cuvee.execute.caught import Caught
from cuvee.execute.kept import Kept
from cuvee.execute.ledger import Ledger
from cuvee.execute.plain import run_step
from cuvee.execute.preflight import preflight
from cuvee.execute.surveying import survey
from cuvee.execute.work import Bench, copy_tile, merge_tile, read_tile, seen_by
from cuvee.methods import Job, Method, Round
from cuvee.methods.tiles import findings, tile_ranges
from cuvee.planning.model import Piece, Plan, Step
from cuvee.planning.room import PASS_TILE
from cuvee.tensors import BLOCK
from cuvee.types import TensorSpec

_ROOM: Final = 64 << 20
"""Bytes of what passes found, and of whole tensors, that one reader keeps."""
_FEW_FINDINGS: Final = 8
_FEW_TENSORS: Final = 4


class VirtualReader:
    """A `Reader` over the result of a plan; see the protocol for what each member promises.

    Args:
        label: what the result is called: the key of its random masks in the recipe that it is a model of.
        plan: what the result is.
        readers: the plan's models, open; whoever opened them closes them.
        method: the method of the plan's recipe.
        seed: seed of random masks.
        allow_nonfinite: let NaN and infinity pass.
    """

    def __init__(
        self,
        label: str,
        plan: Plan,
        readers: Sequence[Reader],
        method: Method,
        *,
        seed: int = 0,
        allow_nonfinite: bool = False,
    ) -> None:
        self._label = label
        self._steps = {step.out.name: step for step in plan.steps}
        ledger = Ledger(plan, hashes=False, progress=None)
        self._bench = Bench(plan, readers, Caught(), method, ledger, seed, allow_nonfinite)
        self._config: Mapping[str, Any] | None = None if plan.config_text is None else json.loads(plan.config_text)
        self._found: Kept[Any] = Kept(_ROOM, _FEW_FINDINGS)
        self._wholes: Kept[Tensor] = Kept(_ROOM, _FEW_TENSORS)
        self._alone = threading.Lock()
        self._is_surveyed = False

    @property
    def plan(self) -> Plan:
        """What the result is."""
        return self._bench.plan

    @property
    def readers(self) -> Sequence[Reader]:
        """The models it is made of."""
        return self._bench.readers

    @property
    def label(self) -> str:
        """The result's name."""
        return self._label

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor as it would be written."""
        return {name: step.out for name, step in self._steps.items()}

    @property
    def shared(self) -> Mapping[str, str]:
        """None, as in a folder of safetensors files: what is tied would be written twice or not at all."""
        return {}

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The configuration that would be written."""
        return self._config

    @property
    def config_text(self) -> str | None:
        """Its text."""
        return self.plan.config_text

    @property
    def folder(self) -> Path | None:
        """`None`: it lies nowhere."""
        return None

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files that would be carried over."""
        return self.plan.side_files

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to know of the merge."""
        return self.plan.notes

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files of all models it is made of, each with the tensors of the result that come of it."""
        sources = {
            Piece(i, name): file for i, reader in enumerate(self.readers) for file in reader.input_files
            for name in file.tensors
        }  # fmt: skip
        made: dict[str, set[str]] = {}
        for step in self.plan.steps:
            for piece in _read_by(step):
                if piece in sources:
                    made.setdefault(sources[piece].name, set()).add(step.out.name)
        files = {file.name: file for reader in self.readers for file in reader.input_files}
        return tuple(replace(file, tensors=frozenset(made.get(name, ()))) for name, file in files.items())

    @property
    def held(self) -> int:
        """Bytes that its models hold, and that it keeps itself, at most."""
        merged = [step for step in self.plan.steps if step.action == "merge"]
        own = self._wholes.most(step.out.nbytes for step in merged if is_taken_whole(step))
        own += self._found.most(self._bytes_found(step) for step in merged if not is_taken_whole(step))
        return own + sum(reader.held for reader in self.readers)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor, evaluated now."""
        step = self._steps[name]
        check_range(name, start, stop, step.out.numel)
        if start == stop:
            return torch.empty(0, dtype=getattr(torch, step.out.dtype), device="cpu")
        with torch.no_grad():
            if step.action == "copy":
                return self._caught(lambda bench: copy_tile(bench, step, start, stop))
            if is_taken_whole(step):
                return self._wholes.get(name, step.out.nbytes, lambda: self._whole(step))[start:stop]
            return self._part(step, start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        copy_bytes(self.read(name, start, stop), into)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes, as they would be written."""
        numel = self._steps[name].out.numel
        found = TensorHash(numel)
        for start, stop in tile_ranges(numel, CHUNK):
            values = self.read(name, start, stop).contiguous()
            found.add(start, tensor_bytes(values), values.element_size())
        return found.hexdigest() or ""

    def check_unchanged(self) -> None:
        """Refuse what was read if something has written to a model since it was opened."""
        faults: list[Fault] = []
        for reader in self.readers:
            try:
                reader.check_unchanged()
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError(dict.fromkeys(faults))

    def close(self) -> None:
        """Forget what was kept; the models are their opener's to close."""
        self._found, self._wholes = Kept(_ROOM, _FEW_FINDINGS), Kept(_ROOM, _FEW_TENSORS)

    def preflight(self) -> None:
        """Compare what has to be equal in the models, of all recipes in this one too.

        Raises:
            InputError: something is not; it says in which result.
        """
        with_name(self._label, lambda: preflight_nested(self.readers))
        with_name(self._label, lambda: preflight(self.plan, self.readers))

    def digests_of(self, names: Sequence[str]) -> Mapping[Piece, str]:
        """The fingerprints of what some tensors are made of, read once more for it."""
        pieces = (p for name in names for p in _read_by(self._steps[name]))
        return {piece: self.readers[piece.model].digest(piece.tensor) for piece in dict.fromkeys(pieces)}

    def _job(self, step: Step) -> Job:
        """The method's view of a step; all tensors are surveyed first, once, where the method asks for that."""
        with self._alone:
            if not self._is_surveyed:
                whole = with_name(self._label, lambda: survey(self._bench, threads=1, tile=PASS_TILE))
                self._bench, self._is_surveyed = replace(self._bench, whole=whole), True
        return self._bench.job(step)

    def _bytes_found(self, step: Step) -> int:
        return self._bench.method.holds(step.out.numel, len(step.pieces), PASS_TILE)

    def _caught(self, do: Any) -> Tensor:
        """What is written while something is done, joined."""
        writer = Caught()
        with_name(self._label, lambda: do(replace(self._bench, writer=writer)))
        return writer.joined()

    def _whole(self, step: Step) -> Tensor:
        with self._alone:  # one at a time: each takes several times the tensor
            return self._caught(lambda bench: run_step(bench, step))

    def _part(self, step: Step, start: int, stop: int) -> Tensor:
        """Some elements of a merged tensor, a few at a time: whole blocks, as random masks and sums need."""
        job = self._job(step)
        known = self._known(step, job)
        first, last = start - start % BLOCK, min(step.out.numel, -(-stop // BLOCK) * BLOCK)

        def merge(bench: Bench) -> None:
            for at in range(first, last, PASS_TILE):
                tile = read_tile(bench, step, at, min(at + PASS_TILE, last), job, first=known is None)
                merge_tile(bench, step, tile, job, known)

        return self._caught(merge)[start - first : stop - first]

    def _known(self, step: Step, job: Job) -> Any:
        """What the passes over a tensor find; they are made once."""
        if self._bench.method.measure(job, 0, None) is None:
            return None
        return self._found.get(step.out.name, self._bytes_found(step), lambda: self._measured(step, job))

    def _measured(self, step: Step, job: Job) -> Any:
        def shown(following: Round, known: Any) -> Any:
            return seen_by(following, self._bench, step, job, known, tile=PASS_TILE, first=known is None)

        return findings(self._bench.method.measure, job, shown)


def is_taken_whole(step: Step) -> bool:
    """Whether a tensor is evaluated as a whole, because its method sees rows or matrices."""
    return step.action == "merge" and step.scope in ("row", "matrix")


def _read_by(step: Step) -> tuple[Piece, ...]:
    return (*step.pieces, *step.must_equal, *step.collected)


def preflight_nested(readers: Sequence[Reader]) -> None:
    """The same for every result among some models.

    Raises:
        InputError: what has to be equal is not.
    """
    for reader in readers:
        below = unplaced(reader, ())[0]
        if isinstance(below, VirtualReader):
            below.preflight()


def unplaced(reader: Reader, names: Sequence[str]) -> tuple[Reader, list[str]]:
    """A model as it lies below all that it is shown as; with the names there of some of its tensors."""
    while isinstance(reader, View):
        names = [reader.original(name) for name in names] if isinstance(reader, Renamed) else names
        reader = reader.inner
    return reader, list(names)


def with_name(label: str, do: Any) -> Any:
    """What something gives; what is wrong with it says in which result."""
    try:
        return do()
    except CuveeError as error:
        raise type(error)(replace(fault, message=f"{label}: {fault.message}") for fault in error.faults) from error
