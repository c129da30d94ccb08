"""How long a plan takes on a machine: a start, then so many nanoseconds per entry, then making the output durable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from cuvee.checkpoint.syncing import STEP
from cuvee.methods import METHODS
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import Workers
from cuvee.planning.scaling import layer_operations, matrices_of_layers
from cuvee.types import rows_of

Form = Literal["plain", "fused"]
_BYTES: Final = 2
"""Of an entry in bfloat16, which paces are measured with."""
_LAST: Final = STEP
"""Bytes, at most, that are made durable only when all is written; before that the disk keeps up if it can."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Nanoseconds per entry and model of a whole merge from file to file: by one worker, and by one for every core."""

    one: float
    all: float

    def by(self, workers: int, cores: int) -> float:
        """Nanoseconds with so many workers; the speed grows evenly from one to all cores, and no further.

        Example:
            >>> Pace(4.0, 2.0).by(1, 2), Pace(4.0, 2.0).by(2, 2), Pace(4.0, 2.0).by(8, 2)
            (4.0, 2.0, 2.0)
        """
        share = 1.0 if cores <= 1 else min(1.0, (workers - 1) / (cores - 1))
        return 1 / (1 / self.one + share * (1 / self.all - 1 / self.one))


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine takes, measured or assumed.

    Attributes:
        start_up: seconds of a merge of next to nothing, from the start of the process to its end.
        fused_start: seconds more when a fused form is used that is compiled already.
        tensor: seconds per output tensor, whatever its size.
        read: bytes per second that one worker reads from the page cache.
        write: bytes per second that one worker writes.
        sync: bytes per second that become durable.
        cores: what `Pace.all` was measured with.
        algebra: multiplications per second of products of large matrices in float64, by one worker.
        copy: pace of tensors that are copied, per entry.
        plain: pace of every method in its plain form.
        fused: pace of the methods that have a fused form.
    """

    start_up: float
    fused_start: float
    tensor: float
    read: float
    write: float
    sync: float
    cores: int
    algebra: float
    copy: Pace
    plain: Mapping[str, Pace] = field(default_factory=dict)
    fused: Mapping[str, Pace] = field(default_factory=dict)

    def pace(self, method: str, form: Form) -> Pace:
        """The pace of a method; of one that was not measured, the middle of those that were."""
        known = self.fused if form == "fused" else self.plain
        if method in known:
            return known[method]
        others = list(known.values()) or list(self.plain.values()) or [self.copy]
        return Pace(median(p.one for p in others), median(p.all for p in others))


DEFAULT: Final = Machine(
    start_up=1.5,
    fused_start=0.6,
    tensor=0.001,
    read=5e9,
    write=1.5e9,
    sync=1.5e9,
    cores=2,
    algebra=1.5e10,
    copy=Pace(1.2, 0.7),
    plain={
        "linear": Pace(1.8, 1.0),
        "slerp": Pace(4.6, 2.5),
        "task_arithmetic": Pace(1.8, 1.0),
        "ties": Pace(13.0, 7.0),
        "dare_linear": Pace(7.0, 4.0),
        "dare_ties": Pace(8.0, 4.5),
        "passthrough": Pace(2.0, 1.1),
    },
    fused={
        "linear": Pace(0.9, 0.5),
        "slerp": Pace(1.7, 1.0),
        "task_arithmetic": Pace(0.9, 0.5),
        "ties": Pace(3.2, 1.8),
        "dare_linear": Pace(1.2, 0.7),
        "dare_ties": Pace(1.6, 0.9),
    },
)
"""A small server with a solid-state disk, in round figures; for machines that were not measured."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds that a merge is thought to take, whole process, and what they are made of.

    Attributes:
        start: starting up, and getting a fused form ready.
        merging: reading, arithmetic, hashing and writing, by all workers together.
        durable: waiting for the disk at the end.
        form: the form of the arithmetic that would be used.
    """

    start: float
    merging: float
    durable: float
    form: Form

    @property
    def seconds(self) -> float:
        """All together."""
        return self.start + self.merging + self.durable


def predict(plan: Plan, workers: Workers, machine: Machine, form: Form, *, compiling: float = 0.0) -> Prediction:
    """What a plan takes.

        start + merging + durable
        merging = Σ entries · models · pace + tensors · overhead + bytes beyond two per entry ÷ speed
                + multiplications of matrices ÷ speed
        durable = the larger of bytes ÷ sync - merging and min(bytes, 64 MiB) ÷ sync

    Args:
        plan: the plan; its inputs are thought to be in the page cache, or on a disk that keeps up.
        workers: how it is carried out.
        machine: what the machine takes.
        form: the form of the method's arithmetic.
        compiling: seconds of compiling before.
    """
    entries = {step.out.name: step.out.numel * max(len(step.pieces), 1) for step in plan.steps}
    pace = machine.pace(plan.recipe.method, form).by(workers.threads, machine.cores)
    copying = machine.copy.by(workers.threads, machine.cores)
    nanoseconds = sum(entries[s.out.name] * (pace if s.action == "merge" else copying) for s in plan.steps)
    written = sum(step.out.nbytes for step in plan.steps)
    merging = nanoseconds * 1e-9 + len(plan.steps) * machine.tensor + _wide(plan, entries, written, workers, machine)
    merging += _algebra(plan, min(workers.threads, machine.cores)) / machine.algebra
    start = machine.start_up + (machine.fused_start + compiling if form == "fused" else 0.0)
    durable = max(written / machine.sync - merging, min(written, _LAST) / machine.sync)
    return Prediction(start, merging, durable, form)


def _algebra(plan: Plan, workers: int) -> float:
    """Multiplications that the worker with the most of them does: all shared out, but no matrix by more than one."""
    each = [layer_operations(plan, step) for step in matrices_of_layers(plan)]
    if plan.recipe.method in METHODS:
        count = METHODS.get(plan.recipe.method).operations
        merged = (step for step in plan.steps if step.action == "merge" and step.scope == "matrix")
        each += [count(*rows_of(step.out.shape), len(step.pieces)) for step in merged if len(step.out.shape) > 1]
    return max(sum(each) / workers, max(each, default=0))


def _wide(plan: Plan, entries: Mapping[str, int], written: int, workers: Workers, machine: Machine) -> float:
    """Seconds for the bytes that wider dtypes than bfloat16 add."""
    read = max(0, plan.read - _BYTES * sum(entries.values()))
    write = max(0, written - _BYTES * sum(step.out.numel for step in plan.steps))
    speed_up = machine.copy.one / machine.copy.by(workers.threads, machine.cores)
    return (read / machine.read + write / machine.write) / speed_up


def arithmetic_entries(steps: tuple[Step, ...]) -> int:
    """Entries of all inputs that a fused form would be run on: merged in float32."""
    return sum(s.out.numel * len(s.pieces) for s in steps if s.action == "merge" and s.work == "float32")
