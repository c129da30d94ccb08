"""Arrays in one safetensors file: what combiners found, banks, golden rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from cuvee.checkpoint.format import place
from cuvee.checkpoint.single_file import write_single
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.combine import Array
from cuvee.types import DTYPES, TensorSpec


def can_be_stored(array: Array) -> bool:
    """Whether safetensors has the array's type."""
    return isinstance(array, np.ndarray) and array.dtype.name in DTYPES


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name; none makes a file without tensors.

    Raises:
        ValueError: an array of another type, such as texts or objects.
    """
    if odd := [name for name, array in arrays.items() if not can_be_stored(array)]:
        raise ValueError(f"the array {odd[0]!r} has the type {getattr(arrays[odd[0]], 'dtype', type(arrays[odd[0]]))}")
    specs = [TensorSpec(name, array.dtype.name, array.shape) for name, array in arrays.items()]
    header, places = place(specs)
    bodies = (_bytes(arrays[placed.spec.name]) for placed in places)
    write_single(path, (header, *bodies), overwrite=False)


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of a file, in memory of its own.

    Raises:
        InputError: `bad-header` or `truncated`.
        ValueError: an array of a type that NumPy lacks.
    """
    found: dict[str, Array] = {}
    with closing(SafetensorsFile(path)) as file:
        for name, spec in file.specs.items():
            if not hasattr(np, spec.dtype if spec.dtype != "bool" else "bool_"):
                raise ValueError(f"the array {name!r} has the type {spec.dtype}")
            array = np.empty(spec.shape, dtype=spec.dtype)
            if spec.numel:
                file.read_into(name, 0, spec.numel, array.reshape(-1).view(np.uint8).data)
            found[name] = array
    return found


def within(arrays: Mapping[str, Array], part: str) -> dict[str, Array]:
    """The arrays whose names begin with `part/`, without it."""
    return {name[len(part) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{part}/")}


def under(part: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays with `part/` before their names."""
    return {f"{part}/{name}": array for name, array in arrays.items()}


def _bytes(array: Array) -> memoryview | bytes:
    flat = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(-1)
    return flat.view(np.uint8).data if math.prod(array.shape) else b""
