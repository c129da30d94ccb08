"""Carry out a plan: check, run, hash, record, publish."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from cuvee.checkpoint.protocol import Reader, Writer
from cuvee.errors import Fault, UsageError, integer_faults
from cuvee.execute.plain import run_step
from cuvee.execute.preflight import preflight
from cuvee.execute.threaded import run_threaded
from cuvee.execute.work import Bench
from cuvee.methods import Method
from cuvee.planning.cost import DEFAULT_TILE, default_threads
from cuvee.planning.model import Piece, Plan, Step

Runner = Literal["threaded", "plain"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: bytes of output complete, of how many, and the tensor just completed."""

    done: int
    total: int
    tensor: str


@dataclass(frozen=True, slots=True)
class Digests:
    """xxh3-128 of every input tensor read and of every output tensor written."""

    inputs: Mapping[Piece, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def execute(
    plan: Plan,
    readers: Sequence[Reader],
    writer: Writer,
    method: Method,
    *,
    seed: int = 0,
    threads: int | None = None,
    tile: int | None = None,
    allow_nonfinite: bool = False,
    runner: Runner = "threaded",
    hashes: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Digests:
    """Write every tensor of a plan and hash inputs and outputs while they are at hand; nothing is published.

    Args:
        plan: what to do.
        readers: the input models, in the plan's order.
        writer: where the output goes.
        method: the recipe's method.
        seed: seed of random masks.
        threads: workers; one per core by default.
        tile: elements per tile; changes memory and speed, never a byte.
        allow_nonfinite: let NaN and infinity pass.
        runner: `plain` takes tensors whole, one at a time: the definition of correct.
        hashes: take the hashes; without them the result is empty.
        progress: called after every tensor, from any thread.

    Raises:
        InputError: a tensor that must be finite, or equal in all models, is not.
        UsageError: `threads` or `tile` below 1, a `seed` that is no integer, or an unknown runner.
    """
    faults = integer_faults("seed", seed)
    for name, value in (("threads", threads), ("tile", tile)):
        faults += [] if value is None else integer_faults(name, value, least=1)
    if faults:
        raise UsageError(faults)
    if runner not in get_args(Runner):
        raise UsageError(Fault("bad-argument", f"`runner` must be one of {get_args(Runner)}; found {runner!r}"))
    preflight(plan, readers)
    bench = Bench(plan, readers, writer, method, seed, allow_nonfinite)
    ledger = _Ledger(bench, hashes, progress)
    if runner == "threaded":
        run_threaded(bench, threads=threads or default_threads(), tile=tile or DEFAULT_TILE, finished=ledger.enter)
    for step in plan.steps:
        if runner == "plain":
            run_step(bench, step)
        if runner == "plain" or not step.out.numel:
            ledger.enter(step)
    return Digests(ledger.inputs, ledger.outputs)


class _Ledger:
    """Hashes what a completed step read and wrote, and tells how far the run is."""

    def __init__(self, bench: Bench, hashes: bool, progress: Callable[[Progress], None] | None) -> None:
        self._bench = bench
        self._hashes = hashes
        self._progress = progress
        self._total = sum(step.out.nbytes for step in bench.plan.steps)
        self._done = 0
        self._lock = threading.Lock()
        self.inputs: dict[Piece, str] = {}
        self.outputs: dict[str, str] = {}

    def enter(self, step: Step) -> None:
        """Take a completed step into account."""
        if self._hashes:
            self._hash(step)
        with self._lock:
            self._done += step.out.nbytes
            if self._progress:
                self._progress(Progress(self._done, self._total, step.out.name))

    def _hash(self, step: Step) -> None:
        for piece in (*step.pieces, *step.must_equal):
            if piece not in self.inputs:
                self.inputs[piece] = self._bench.readers[piece.model].digest(piece.tensor)
        self.outputs[step.out.name] = self._bench.writer.digest(step.out.name)
