"""What only the data can tell, and yet must be known before any heavy work: tensors that have to be equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError
from cuvee.planning.model import Piece, Plan

_PIECE = 1 << 20


def preflight(plan: Plan, readers: Sequence[Reader]) -> None:
    """Compare the integer tensors that are copied, and the stored copies of tied tensors.

    Raises:
        InputError: some differ; all are named.
    """
    faults = [*_integer_faults(plan, readers), *_tied_faults(plan, readers)]
    if faults:
        raise InputError(faults)


def _integer_faults(plan: Plan, readers: Sequence[Reader]) -> Iterator[Fault]:
    for step in plan.steps:
        for other in step.must_equal:
            if not _equal(readers, step.inputs[0], other, step.out.numel):
                labels = plan.models[step.inputs[0].model].label, plan.models[other.model].label
                message = (
                    f"tensor {step.out.name} ({step.out.dtype}) cannot be merged, only copied where it is the same in "
                    f"every model; {labels[0]} and {labels[1]} differ"
                )
                hint = "quantised models must be dequantised first; counters can be removed from the checkpoint"
                yield Fault("unmergeable-dtype", message, subject=step.out.name, hint=hint)


def _tied_faults(plan: Plan, readers: Sequence[Reader]) -> Iterator[Fault]:
    for tied in plan.tied:
        for copy, original in tied.copies:
            numel = readers[copy.model].specs[copy.tensor].numel
            if not _equal(readers, copy, original, numel):
                label = plan.models[copy.model].label
                message = f"{label}: config.json ties {copy.tensor} to {original.tensor}, but their values differ"
                hint = "remove the tensor, or set `tie_word_embeddings` to false in that model's config.json"
                yield Fault("tied-mismatch", message, subject=copy.tensor, hint=hint)


def _equal(readers: Sequence[Reader], a: Piece, b: Piece, numel: int) -> bool:
    return all(
        same_values(_read(readers, a, start, numel), _read(readers, b, start, numel))
        for start in range(0, numel, _PIECE)
    )


def _read(readers: Sequence[Reader], piece: Piece, start: int, numel: int) -> Tensor:
    return readers[piece.model].read(piece.tensor, start, min(start + _PIECE, numel))


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two flat tensors hold the same bytes, or the same numbers in two dtypes; so NaN is equal to itself."""
    if a.dtype != b.dtype:
        return bool(a.double().equal(b.double()))
    return bool(a.contiguous().view(torch.uint8).equal(b.contiguous().view(torch.uint8)))
