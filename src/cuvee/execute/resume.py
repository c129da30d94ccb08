"""What is journalled of a run, and what a later run of the same job takes over from it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, Final, Protocol

import torch

from cuvee.checkpoint.digest import digest_cuts, has_cuts
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.identity import changed
from cuvee.checkpoint.job import job_of
from cuvee.checkpoint.journal import AFRESH, Entry, disjoint
from cuvee.checkpoint.protocol import Layout, Reader
from cuvee.errors import CuveeError, Fault, InputError
from cuvee.planning.model import Piece, Plan, Step
from cuvee.recipe import to_data
from cuvee.tensors import BLOCK

Range = tuple[int, int]


class Notes(Protocol):
    """Where finished ranges are noted."""

    def note(self, entry: Entry) -> None:
        """Note a range as written."""


class Keeper(Notes, Protocol):
    """A writer that keeps a journal."""

    @property
    def past(self) -> Sequence[Entry]:
        """What an earlier run of the same job noted as finished."""

    @property
    def touched(self) -> frozenset[str]:
        """Names of input files whose content must be looked at before that is believed."""

    @property
    def kept(self) -> bool:
        """Whether it was left with what is finished still there."""

    def holds(self, entry: Entry) -> bool:
        """Whether the bytes of a noted range stand in their place."""

    def take_over(self, entry: Entry) -> None:
        """Count a noted range as written."""


def describe(
    plan: Plan, readers: Sequence[Reader], layout: Layout, *, seed: int, allow_nonfinite: bool
) -> dict[str, Any]:
    """Everything that a run's bytes depend on, for its journal; threads and tiles are not among it."""
    settings = {
        "recipe": to_data(plan.recipe),
        "seed": seed,
        "allow_nonfinite": allow_nonfinite,
        "versions": {"cuvee": version("cuvee"), "torch": torch.__version__},
    }
    files = {f"{i}: {reader.label}": reader.input_files for i, reader in enumerate(readers)}
    return job_of(settings, [asdict(step) for step in plan.steps], layout, files)


@contextmanager
def told_to_resume(keeper: Keeper) -> Iterator[None]:
    """Say of what goes wrong inside that what is finished is kept, if it is."""
    try:
        yield
    except KeyboardInterrupt:
        if not keeper.kept:
            raise
        raise KeyboardInterrupt(f"interrupted; {_GO_ON}") from None
    except CuveeError as error:
        if not keeper.kept or error.code == "resume-mismatch":
            raise
        hints = [f"{fault.hint}; {_GO_ON}" if fault.hint else _GO_ON for fault in error.faults]
        raise type(error)(replace(fault, hint=hint) for fault, hint in zip(error.faults, hints)) from error


_GO_ON: Final = "what is finished is kept: run the same command again with --resume"


@dataclass(frozen=True)
class Finished:
    """Ranges of output tensors that stand in their place already.

    Attributes:
        entries: by tensor, in order, not overlapping.
    """

    entries: Mapping[str, Sequence[Entry]]

    @property
    def ranges(self) -> int:
        """How many."""
        return sum(map(len, self.entries.values()))

    def elements(self, tensor: str) -> int:
        """How many elements of a tensor."""
        return sum(entry.stop - entry.start for entry in self.entries.get(tensor, ()))

    def left(self, tensor: str, ranges: Iterable[Range]) -> list[Range]:
        """What is not finished of some ranges of a tensor."""
        entries = self.entries.get(tensor, ())
        return [rest for one in ranges for rest in _without(one, entries)] if entries else list(ranges)


NOTHING: Final = Finished({})
"""Nothing is finished."""


def _without(one: Range, entries: Sequence[Entry]) -> Iterator[Range]:
    """The parts of a range that no entry covers."""
    start, stop = one
    first = bisect_right(entries, start, key=lambda entry: entry.stop)
    for entry in entries[first:]:
        if entry.start >= stop:
            break
        if start < entry.start:
            yield start, entry.start
        start = max(start, entry.stop)
    if start < stop:
        yield start, stop


def take_over(plan: Plan, readers: Sequence[Reader], keeper: Keeper) -> Finished:
    """Believe of a journal what can be checked: bytes that stand there, made from inputs that are what they were.

    Raises:
        InputError: `resume-mismatch`: an input is not.
    """
    steps = {step.out.name: step for step in plan.steps}
    claimed = [entry for entry in keeper.past if _is_of(steps, entry)]
    noted = _with_same_inputs(plan, readers, claimed, keeper.touched)
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in disjoint(entry for entry in noted if keeper.holds(entry)):
        keeper.take_over(entry)
        found[entry.tensor].append(entry)
    return Finished(found)


def _is_of(steps: Mapping[str, Step], entry: Entry) -> bool:
    """Whether an entry speaks of whole blocks of a tensor of the plan: what is left must be tiles again."""
    step = steps.get(entry.tensor)
    if step is None or not 0 <= entry.start < entry.stop <= step.out.numel or len(entry.read) != len(step.pieces):
        return False
    unit = math.lcm(BLOCK, step.grain)
    return entry.start % unit == 0 and (entry.stop % unit == 0 or entry.stop == step.out.numel)


def _with_same_inputs(
    plan: Plan, readers: Sequence[Reader], noted: Sequence[Entry], touched: frozenset[str]
) -> Sequence[Entry]:
    """The entries that are still good where files were renamed, linked, given other rights — or written to.

    The inputs of a noted range are read again and must have the fingerprints they had. A tensor of which not every
    range is noted is begun again: what was found by measuring it may come from parts that changed since.
    """
    suspects = _suspects(readers, touched)
    if not suspects:
        return noted
    by_tensor: dict[str, list[Entry]] = defaultdict(list)
    for entry in disjoint(noted):
        by_tensor[entry.tensor].append(entry)
    good: list[Entry] = []
    faults: dict[str, Fault] = {}
    for step in plan.steps:
        entries = by_tensor[step.out.name]
        doubtful = {i: piece for i, piece in enumerate(step.pieces) if piece in suspects}
        if any(piece in suspects for piece in step.collected):
            continue
        whole = sum(entry.stop - entry.start for entry in entries) == step.out.numel
        known = all(entry.read[i] for entry in entries for i in doubtful)
        for i, piece in doubtful.items():
            if not all(_is_same(readers[piece.model], piece, entry, i) for entry in entries if entry.read[i]):
                faults[suspects[piece]] = _changed_since(suspects[piece])
        good += entries if not doubtful or (whole and known) else []
    if faults:
        raise InputError(faults.values())
    return good


def _suspects(readers: Sequence[Reader], touched: frozenset[str]) -> dict[Piece, str]:
    """Tensors of touched files, each with the file's name."""
    files = [(i, file) for i, reader in enumerate(readers) for file in reader.input_files if file.name in touched]
    return {Piece(i, tensor): file.name for i, file in files for tensor in file.tensors}


def _is_same(reader: Reader, piece: Piece, entry: Entry, i: int) -> bool:
    def digest_of(first: int, last: int) -> bytes:
        values = reader.read(piece.tensor, first, last).contiguous()
        return digest_cuts(first, tensor_bytes(values), values.element_size())

    return has_cuts(entry.start, entry.stop, entry.read[i], digest_of)


def _changed_since(name: str) -> Fault:
    message = changed(name, "since the run that was interrupted").message
    return Fault("resume-mismatch", message, subject=name, hint=f"undo that, or {AFRESH}")
