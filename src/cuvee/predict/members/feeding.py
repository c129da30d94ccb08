"""Rows as the inputs of an ONNX file: one matrix, or a column for each, in the type that it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, nearest

_TYPES: Final[Mapping[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


@dataclass(frozen=True)
class Slot:
    """One input of a file: its name, its type as onnxruntime writes it, and its shape, `None` or a name where free."""

    name: str
    type: str
    shape: tuple[Any, ...]


def fed(slots: Sequence[Slot], X: Any) -> dict[str, Array]:
    """What a file is given for rows.

    A file with one input gets the rows as a matrix: columns stand in the order of the rows, or of `reads`. A file with
    several gets each from the column of its name.

    Args:
        slots: its inputs.
        X: what the member reads.

    Raises:
        InputError: `bad-data`: there is no such column; values that the type cannot hold.
    """
    columns = {str(name): X[name] for name in X} if isinstance(X, Mapping) or hasattr(X, "iloc") else None
    if len(slots) == 1 and (columns is None or slots[0].name not in columns):
        matrix = X if columns is None else np.column_stack([np.asarray(column) for column in columns.values()])
        return {slots[0].name: _cast(slots[0], matrix)}
    if columns is None:
        message = f"the ONNX file has the inputs {', '.join(slot.name for slot in slots)}, and the rows no columns"
        raise InputError(Fault("bad-data", message, hint="give a mapping of columns or a data frame"))
    if lacking := [slot.name for slot in slots if slot.name not in columns]:
        raise InputError(
            [
                Fault("bad-data", f"the ONNX file reads a column {name!r}", None, name, nearest(name, columns))
                for name in lacking
            ]
        )
    return {slot.name: _cast(slot, columns[slot.name]) for slot in slots}


def _cast(slot: Slot, values: Any) -> Array:
    """Values in a slot's type and shape."""
    given = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    given = np.asarray(given.toarray() if hasattr(given, "toarray") else given)
    wanted = _TYPES.get(slot.type)
    if wanted is None:
        raise InputError(
            Fault("bad-data", f"the input {slot.name!r} of the ONNX file is a {slot.type}, which is not fed")
        )
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what that makes of numbers is looked at below
            made = np.array(given.tolist(), dtype=object) if wanted is np.object_ else given.astype(wanted)
    except (TypeError, ValueError) as error:
        message = f"the input {slot.name!r} of the ONNX file is {slot.type}: {str(error)[:200]}"
        raise InputError(Fault("bad-data", message, subject=slot.name)) from error
    if not _is_held(made, given):
        message = f"the input {slot.name!r} of the ONNX file is {slot.type}, which cannot hold some of the values"
        raise InputError(Fault("bad-data", message, subject=slot.name))
    return made.reshape(len(made), -1) if made.ndim == 1 and len(slot.shape) == 2 else made


def _is_held(made: Array, given: Array) -> bool:
    """Whether a cast kept what there was: integers to the last, floats but for rounding."""
    if made.dtype.kind in "iu":
        return np.array_equal(made, given)
    return made.dtype.kind != "f" or given.dtype.kind != "f" or bool((np.isinf(made) <= np.isinf(given)).all())
