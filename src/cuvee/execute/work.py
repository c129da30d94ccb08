"""One step of a plan turned into tiles: what to read, what to run on it, what to check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuvee import tensors
from cuvee.checkpoint.protocol import Filler, Reader
from cuvee.errors import Fault, InputError
from cuvee.execute.ledger import Ledger
from cuvee.methods import Job, Method, Round
from cuvee.methods.tiles import Tally, combine_tile, mask_keys, observed, stack_of, tile_ranges
from cuvee.planning.model import Piece, Plan, Step


@dataclass(frozen=True)
class Bench:
    """Everything the steps of one run share.

    Attributes:
        plan: what is done.
        readers: the input models, in the plan's order.
        writer: the output.
        method: the method.
        ledger: told of every tile.
        seed: seed of random masks.
        allow_nonfinite: let NaN and infinity pass.
        whole: what the method's surveys concluded.
    """

    plan: Plan
    readers: Sequence[Reader]
    writer: Filler
    method: Method
    ledger: Ledger
    seed: int = 0
    allow_nonfinite: bool = False
    whole: Any = None

    def job(self, step: Step) -> Job:
        """The method's view of a step."""
        return job_of(self.plan, self.seed, step, whole=self.whole)


@dataclass(frozen=True)
class Tile:
    """One tile of a step, read and stacked; `collected` is what was collected of each model about it."""

    stack: Tensor
    base: Tensor | None
    start: int
    collected: Sequence[Tensor] | None = None


def job_of(plan: Plan, seed: int, step: Step, *, numel: int | None = None, whole: Any = None) -> Job:
    """The method's view of a step; of a tensor of its own of so many elements, if they are given."""
    labels = [str(plan.models[piece.model].ref) for piece in step.inputs]
    return Job(
        settings=_tensors(step.settings),
        numel=step.out.numel if numel is None else numel,
        dtype=getattr(torch, step.work),
        keys=mask_keys(seed, labels, step.mask or step.out.name),
        shape=step.out.shape if numel is None else (numel,),
        scope=step.scope,
        whole=whole,
    )


def _tensors(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: torch.tensor(value, dtype=torch.float64, device="cpu") if isinstance(value, tuple) else value
        for name, value in settings.items()
    }


def read_tile(bench: Bench, step: Step, start: int, stop: int, job: Job, *, first: bool = True) -> Tile:
    """Read one tile of every input and stack it for the method."""
    read = _read_first if first else _read
    values = [read(bench, piece, start, stop) for piece in step.inputs]
    base = None if step.base is None else read(bench, step.base, start, stop)
    return Tile(stack_of(bench.method, values, base, job.dtype), base, start, read_collected(bench, step, start, stop))


def seen_by(
    following: Round, bench: Bench, step: Step, job: Job, known: Any, *, tile: int | None, first: bool = False
) -> Any:
    """What a pass finds in a tensor, one tile after the other.

    Args:
        following: the pass.
        bench: the run.
        step: the tensor.
        job: its settings.
        known: what the pass before it concluded.
        tile: elements per tile; the tensor whole without it.
        first: whether entries are hashed and checked: nobody has read them before.
    """
    tally = Tally()
    for start, stop in tile_ranges(step.out.numel, tile, step.grain):
        stack = read_tile(bench, step, start, stop, job, first=first).stack
        tally.add(observed(following, stack, start, job, known))
    return tally.total()


def read_collected(bench: Bench, step: Step, start: int, stop: int) -> list[Tensor] | None:
    """What was collected of each model: of these entries where there is one number for each, else all of it.

    Raises:
        InputError: it is not finite, or a mean of squares is below 0.
    """
    if not step.collected:
        return None
    found = []
    is_entrywise = bench.method.spec.collected == "fisher"
    for piece in step.collected:
        spec = bench.readers[piece.model].specs[piece.tensor]
        first, last = (start, stop) if is_entrywise else (0, spec.numel)
        values = _read(bench, piece, first, last)
        check_finite(values, bench, piece, first)
        shaped = values if is_entrywise else values.view(spec.shape)
        _check_means(shaped if is_entrywise else shaped.diagonal(dim1=-2, dim2=-1).flatten(), bench, piece)
        found.append(shaped)
    return found


def _check_means(squares: Tensor, bench: Bench, piece: Piece) -> None:
    """Refuse means of squares, which a Fisher and the diagonal of a Gram matrix are, below 0."""
    if (least := float(squares.min())) < 0:
        label = bench.plan.models[piece.model].label
        message = f"{label}: {piece.tensor} holds means of squares, which must not be negative; found {least:g}"
        hint = "the file may be damaged, or hold something else; collect it again"
        raise InputError(Fault("bad-statistics", message, subject=piece.tensor, hint=hint))


def _read(bench: Bench, piece: Piece, start: int, stop: int) -> Tensor:
    return bench.readers[piece.model].read(piece.tensor, start, stop)


def _read_first(bench: Bench, piece: Piece, start: int, stop: int) -> Tensor:
    """What is read for the first time is hashed, and checked to be finite."""
    reader = bench.readers[piece.model]
    values = reader.read(piece.tensor, start, stop)
    bench.ledger.read(piece, reader.specs[piece.tensor].numel, start, values)
    if values.is_floating_point() and not bench.allow_nonfinite:
        check_finite(values, bench, piece, start)
    return values


def read_whole(bench: Bench, piece: Piece) -> Tensor:
    """All of a tensor, flat; finite unless the run lets other values pass. It is not hashed."""
    values = _read(bench, piece, 0, bench.readers[piece.model].specs[piece.tensor].numel)
    if not bench.allow_nonfinite:
        check_finite(values, bench, piece, 0)
    return values


def all_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite; at least one entry. Sixteen times as fast as asking every entry."""
    return all(math.isfinite(float(end)) for end in torch.aminmax(values))  # both ends are NaN where any entry is


def check_finite(values: Tensor, bench: Bench, piece: Piece, start: int) -> None:
    """Refuse a run of elements that holds one which is no number; `start` is its first."""
    values = values.float() if values.dtype.itemsize == 1 else values
    if all_finite(values):
        return
    at = start + int((~torch.isfinite(values)).nonzero()[0])
    label = bench.plan.models[piece.model].label
    message = f"{label}: tensor {piece.tensor} must be finite; entry {at} is {float(values[at - start])}"
    hint = "the model may be damaged; --allow-nonfinite merges it all the same"
    raise InputError(Fault("non-finite", message, subject=piece.tensor, hint=hint))


def merge_tile(bench: Bench, step: Step, tile: Tile, job: Job, known: Any) -> None:
    """Combine one tile and write it, rounded once to the output's dtype."""
    merged = combine_tile(bench.method, tile.stack, tile.base, tile.start, job, known, tile.collected)
    write_tile(bench, step, tile.start, merged)


def copy_tile(bench: Bench, step: Step, start: int, stop: int) -> None:
    """Copy one tile of the first input, cast to the output's dtype."""
    write_tile(bench, step, start, _read_first(bench, step.inputs[0], start, stop))


def write_tile(bench: Bench, step: Step, start: int, values: Tensor) -> None:
    """Write a tile, rounded once to the output's dtype; it must hold the values."""
    rounded = tensors.round_to(values, getattr(torch, step.out.dtype))
    checked = rounded.is_floating_point() and rounded.dtype.itemsize > 1 and not bench.allow_nonfinite
    if checked and not all_finite(rounded):
        raise InputError(_overflow(step, values))
    write_checked(bench, step, start, rounded)


def write_checked(bench: Bench, step: Step, start: int, rounded: Tensor) -> None:
    """Write a tile that is known to be good, in the output's dtype."""
    bench.writer.write(step.out.name, start, rounded)
    bench.ledger.written(step, start, rounded)


def _overflow(step: Step, values: Tensor) -> Fault:
    """What became too large for the output's dtype, and which dtypes hold more."""
    largest = float(values.double().abs().nan_to_num(posinf=math.inf).max())
    value = "merged value" if step.action == "merge" else "value"
    wider = {"float16": "`bfloat16` or `float32`", "bfloat16": "`float64`", "float32": "`float64`"}.get(step.out.dtype)
    remedies = [f"set `out_dtype` to {wider}"] if wider else []
    remedies += ["make the weights smaller"] if step.action == "merge" else []
    message = f"tensor {step.out.name}: a {value} ({largest:.3g}) is too large for {step.out.dtype}"
    return Fault("non-finite", message, subject=step.out.name, hint=", or ".join(remedies) or None)
