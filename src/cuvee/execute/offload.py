"""Tiles on a device: read into memory that it can copy from, combined there, copied back, written.

The operations are those of the plain form, one by one, on the same numbers, so that the bytes are the same; what each
of them does on CUDA is written down in docs/design/devices.md. Three things are done by the processor whatever the
device: copies, tiles that hold or give something that is no number (devices differ in the bits of NaN), and methods
that look at more than entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, TypeVar

import torch
from torch import Tensor

from cuvee import tensors
from cuvee.checkpoint.flat import writable_bytes
from cuvee.execute.fast import dtypes_of, merges_floats
from cuvee.execute.lane import Lane
from cuvee.execute.proof import PROVED, Proof
from cuvee.execute.turns import Turns
from cuvee.execute.work import Bench, check_finite, write_checked, write_tile
from cuvee.methods import Job, Round
from cuvee.methods.tiles import combine_tile, stack_of, tile_ranges
from cuvee.planning.model import Step
from cuvee.tensors.moving import moved

_CPU = torch.device("cpu")
_Found = TypeVar("_Found")


class Far:
    """A device as all workers of a run see it.

    Args:
        device: any device of torch; the processor works too, by the same steps.
        workers: how many there are.
        method: the method's name.
    """

    def __init__(self, device: torch.device, workers: int, method: str) -> None:
        self.device = device
        self.turns = Turns(str(device), workers)
        self.proof = Proof(str(device), method)


def is_served(bench: Bench, step: Step) -> bool:
    """Whether a step is done on the device: a method of single entries, on floats."""
    return step.scope == "element" and not step.collected and merges_floats(bench.readers, step)


@dataclass(frozen=True)
class _Held:
    """A tile of every input in host memory, the base first, as stored."""

    step: Step
    rows: list[Tensor]
    start: int

    def seen(self, bench: Bench, rows: list[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """The stack that the method sees of some of it, and the base."""
        base = rows[0] if self.step.base is not None else None
        return stack_of(bench.method, rows if base is None else rows[1:], base, dtype), base

    def stack(self, bench: Bench, n: int, dtype: torch.dtype) -> Tensor:
        """The stack of the first entries."""
        return self.seen(bench, [row[:n] for row in self.rows], dtype)[0]


class Errands:
    """What one worker does on a device.

    Args:
        far: the device.
        bench: the run.
    """

    def __init__(self, far: Far, bench: Bench) -> None:
        self._far = far
        self._bench = bench
        self.lane = Lane(far.device)

    def observe(self, step: Step, run: tuple[int, int], job: Job, following: Round, known: Any, *, first: bool) -> Any:
        """What one pass finds in a tile, on the processor."""
        held = self._read(step, run, first=first)
        device = self._far.device

        def look(start: int, stop: int) -> tuple[Any, Tensor]:
            rows = [self.lane.send(row[start:stop]) for row in held.rows]
            stack, _ = held.seen(self._bench, rows, job.dtype)
            there = replace(job, settings=moved(job.settings, device))
            found = following.observe(stack, held.start + start, there, moved(known, device))
            return moved(found, _CPU), _are_finite(rows)

        found = self._on_device(run[1] - run[0], look)
        if found is not None:
            self._prove_pass(held, job, following, known, look)
        if found is not None and not self._far.proof.broken:
            return reduce(add, found)
        self._refuse(held)
        return following.observe(held.stack(self._bench, run[1] - run[0], job.dtype), held.start, job, known)

    def merge(self, step: Step, run: tuple[int, int], job: Job, known: Any, *, first: bool) -> None:
        """Combine a tile and write it."""
        held = self._read(step, run, first=first)
        dtype = getattr(torch, step.out.dtype)
        out = self.lane.room("out", run[1] - run[0], dtype)

        def make(start: int, stop: int) -> tuple[None, Tensor]:
            rows = [self.lane.send(row[start:stop]) for row in held.rows]
            stack, base = held.seen(self._bench, rows, job.dtype)
            merged = combine_tile(
                self._bench.method, stack, base, held.start + start, job, moved(known, self._far.device)
            )
            rounded = tensors.round_to(merged, dtype)
            self.lane.fetch(rounded, out[start:stop])
            return None, _are_finite([*rows, rounded])

        made = self._on_device(run[1] - run[0], make)
        if made is not None:
            self._prove(held, job, known, out)
        if made is not None and not self._far.proof.broken:
            write_checked(self._bench, step, held.start, out)
        else:
            self._refuse(held)
            write_tile(self._bench, step, held.start, self._by_hand(held, len(out), job, known))

    def _read(self, step: Step, run: tuple[int, int], *, first: bool) -> _Held:
        """A tile of every input, hashed where it is read for the first time."""
        rows = []
        for i, (piece, dtype) in enumerate(zip(step.pieces, dtypes_of(self._bench.readers, step), strict=True)):
            row = self.lane.room(f"row {i}", run[1] - run[0], getattr(torch, dtype))
            self._bench.readers[piece.model].read_into(piece.tensor, *run, writable_bytes(row))
            if first:
                self._bench.ledger.read(piece, step.out.numel, run[0], row)
            rows.append(row)
        return _Held(step, rows, run[0])

    def _on_device(self, n: int, one: Callable[[int, int], tuple[_Found, Tensor]]) -> list[_Found] | None:
        """Do a tile there, in parts where it has no memory for all of it; `None` if the processor has to."""
        while not self._far.proof.broken:
            size = min(n, self._far.turns.most or n)
            with self._far.turns.one() as alone:
                try:
                    return self._in_parts(n, size, one)
                except torch.OutOfMemoryError:
                    pass  # what the error holds on to is free only behind this block
            self._far.turns.ran_out(size, alone=alone)
            self.lane.let_go()
        return None

    def _in_parts(self, n: int, size: int, one: Callable[[int, int], tuple[_Found, Tensor]]) -> list[_Found] | None:
        with self.lane.open():
            done = [one(start, stop) for start, stop in tile_ranges(n, size)]
            fine = self.lane.room("fine", 1, torch.bool)
            self.lane.fetch(torch.stack([good for _, good in done]).all().reshape(1), fine)
            self.lane.wait()
        return [found for found, _ in done] if bool(fine) else None

    def _refuse(self, held: _Held) -> None:
        """Say which entry of the inputs is no number, if one is and none may be."""
        if not self._bench.allow_nonfinite:
            for piece, row in zip(held.step.pieces, held.rows, strict=True):
                check_finite(row, self._bench, piece, held.start)

    def _by_hand(self, held: _Held, n: int, job: Job, known: Any) -> Tensor:
        """The first entries of a tile by the processor, which is the definition."""
        stack, base = held.seen(self._bench, [row[:n] for row in held.rows], job.dtype)
        return combine_tile(self._bench.method, stack, base, held.start, job, known)

    def _prove(self, held: _Held, job: Job, known: Any, out: Tensor) -> None:
        """Compare the first tile of each kind with the processor's: a GPU may be one that nobody has tried."""
        kind = ("combine", *dtypes_of(self._bench.readers, held.step), held.step.work, held.step.out.dtype)
        if self._far.proof.wants(kind):
            mine = out[:PROVED]
            expected = tensors.round_to(self._by_hand(held, len(mine), job, known), mine.dtype)
            self._far.proof.settle(kind, expected, mine, len(mine))

    def _prove_pass(self, held: _Held, job: Job, following: Round, known: Any, look: Callable[[int, int], Any]) -> None:
        """The same of a pass, of which a few entries are looked at once more on both sides."""
        name = getattr(following.observe, "__qualname__", "pass")
        kind = (name, *dtypes_of(self._bench.readers, held.step), held.step.work)
        if self._far.proof.wants(kind):
            few = min(PROVED, len(held.rows[0]), self._far.turns.most or PROVED)
            found = self._on_device(few, look)
            if found is not None and len(found) == 1:  # parts add up to the same sums, but not to the same tensors
                expected = following.observe(held.stack(self._bench, few, job.dtype), held.start, job, known)
                self._far.proof.settle(kind, expected, found[0], few)


def _are_finite(rows: list[Tensor]) -> Tensor:
    """Whether all entries are numbers, as one flag on the device."""
    wide = [row.float() if row.dtype.itemsize == 1 else row for row in rows]
    return torch.stack([torch.isfinite(row).all() for row in wide]).all()
