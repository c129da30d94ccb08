"""The fused form of a method at work: one tile of a step, read into a worker's own memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.execute.hands import ROW_DTYPES, Hands, Room
from cuvee.execute.work import Bench, check_finite, write_checked, write_tile
from cuvee.fused.model import INFINITE, FusedRound
from cuvee.methods import Job, Round
from cuvee.methods.tiles import combine_tile, stack_of
from cuvee.planning.model import Step
from cuvee.types import DTYPES

if TYPE_CHECKING:
    from cuvee.fused.model import Combine


@dataclass(frozen=True)
class Shown:
    """A tile of every input of a step as rows of one dtype: bfloat16 where all are, else float32."""

    step: Step
    room: Room
    runs: Sequence[tuple[int, int]]

    @property
    def start(self) -> int:
        """The first element of a tile."""
        return self.runs[0][0]


def dtypes_of(readers: Sequence[Reader], step: Step) -> list[str]:
    """The dtypes that reading the inputs of a step brings, the base first."""
    return [readers[piece.model].specs[piece.tensor].dtype for piece in step.pieces]


def merges_floats(readers: Sequence[Reader], step: Step) -> bool:
    """Whether a step runs the method on inputs that are all floats."""
    if step.action != "merge" or not step.inputs:
        return False
    return all(DTYPES[dtype].kind.startswith("float") for dtype in dtypes_of(readers, step))


def is_served(readers: Sequence[Reader], step: Step) -> bool:
    """Whether a fused form can do a step: one that merges floats with arithmetic in float32."""
    return step.work == "float32" and step.scope == "element" and merges_floats(readers, step)


def row_dtype(readers: Sequence[Reader], step: Step) -> str:
    """What the inputs of a step are read as: bfloat16 where all are stored so, else float32."""
    return "bfloat16" if set(dtypes_of(readers, step)) == {"bfloat16"} else "float32"


def out_dtype(step: Step) -> str:
    """What the fused form writes: the output's own dtype where it can, else float32, to be rounded by torch."""
    return step.out.dtype if step.out.dtype in ROW_DTYPES else "float32"


def read_rows(bench: Bench, step: Step, runs: Sequence[tuple[int, int]], hands: Hands, *, first: bool) -> Shown:
    """Runs of elements of every input, one run after the other.

    Args:
        bench: the run.
        step: the step.
        runs: first elements and those behind the last; a single one for a tile.
        hands: the worker's memory.
        first: whether the elements are read for the first time, and so hashed.
    """
    dtypes, own = dtypes_of(bench.readers, step), row_dtype(bench.readers, step)
    room = hands.rows(len(step.pieces), sum(stop - start for start, stop in runs), own)
    for piece, dtype, row, into in zip(step.pieces, dtypes, room.each, room.into, strict=True):
        reader = bench.readers[piece.model]
        at = 0
        for start, stop in runs:
            values = row if len(runs) == 1 else row[at : at + stop - start]
            if dtype == own:
                size = values.itemsize
                reader.read_into(piece.tensor, start, stop, into[at * size : (at + stop - start) * size])
            else:
                stored = reader.read(piece.tensor, start, stop)
                values.copy_(stored)
                values = stored
            at += stop - start
            if first:
                bench.ledger.read(piece, step.out.numel, start, values)
    return Shown(step, room, runs)


def observe(bench: Bench, shown: Shown, job: Job, following: FusedRound | Round, known: Any) -> Any:
    """What one pass finds in a tile, whichever form it has."""
    if isinstance(following, Round):
        stack, _ = _plainly(bench, shown, job)
        return following.observe(stack, shown.start, job, known)
    partial, largest = following.observe(shown.room.bits, shown.start)
    if largest >= INFINITE:
        _refuse(bench, shown)
    return partial


def merge(bench: Bench, shown: Shown, job: Job, known: Any, combine: Combine, hands: Hands) -> None:
    """Combine a tile and write it."""
    step = shown.step
    room = hands.out(shown.room.rows.shape[1], out_dtype(step))
    out = room.each[0]
    if combine(shown.room.bits, shown.start, room.bits[0]) >= INFINITE:
        _merge_plainly(bench, shown, job, known)
    elif str(out.dtype).removeprefix("torch.") == step.out.dtype:
        write_checked(bench, step, shown.start, out)
    else:
        write_tile(bench, step, shown.start, out)


def _merge_plainly(bench: Bench, shown: Shown, job: Job, known: Any) -> None:
    """The tile by the plain form, which says what is wrong with it."""
    _refuse(bench, shown)
    stack, base = _plainly(bench, shown, job)
    write_tile(bench, shown.step, shown.start, combine_tile(bench.method, stack, base, shown.start, job, known))


def _plainly(bench: Bench, shown: Shown, job: Job) -> tuple[Tensor, Tensor | None]:
    """The stack that the plain form of the method sees, and the base."""
    values = list(shown.room.each)
    base = values.pop(0) if shown.step.base is not None else None
    return stack_of(bench.method, values, base, job.dtype), base


def _refuse(bench: Bench, shown: Shown) -> None:
    """Say which entry of the inputs is no number, if one is."""
    for piece, row in zip(shown.step.pieces, shown.room.each, strict=True):
        at = 0
        for start, stop in shown.runs:
            check_finite(row[at : at + stop - start], bench, piece, start)
            at += stop - start
