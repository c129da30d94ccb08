"""What only the data can tell, and yet must be known before any heavy work: tensors that have to be equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cuvee.checkpoint.equality import same_tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError
from cuvee.planning.model import Plan


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
            first = step.inputs[0]
            if not same_tensors(readers[first.model], first.tensor, readers[other.model], other.tensor):
                labels = plan.models[first.model].label, plan.models[other.model].label
                message = (
                    f"tensor {step.out.name} ({step.out.dtype}) cannot be merged, only copied where it is the same in "
                    f"every model; {labels[0]} and {labels[1]} differ"
                )
                hint = "quantised models must be dequantised first; counters can be removed from the checkpoint"
                yield Fault("unmergeable-dtype", message, subject=step.out.name, hint=hint)


def _tied_faults(plan: Plan, readers: Sequence[Reader]) -> Iterator[Fault]:
    for copy, original in plan.copies:
        reader = readers[copy.model]
        if not same_tensors(reader, copy.tensor, reader, original.tensor):
            label = plan.models[copy.model].label
            message = f"{label}: {copy.tensor} should repeat {original.tensor}, to which it is tied, but they differ"
            hint = "remove the tensor, or set `tie_word_embeddings` to false in that model's config.json"
            yield Fault("tied-mismatch", message, subject=copy.tensor, hint=hint)
