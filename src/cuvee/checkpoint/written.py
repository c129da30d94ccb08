"""What every writer checks: that values fit their place, and that no element was forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cuvee.checkpoint.flat import check_range
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class Written:
    """A count of the elements written to each tensor; safe from any thread."""

    def __init__(self, specs: Iterable[TensorSpec]) -> None:
        self._open = {spec.name: spec.numel for spec in specs}
        self._lock = threading.Lock()

    def add(self, name: str, numel: int) -> None:
        """Note that so many more elements of a tensor stand in their place."""
        with self._lock:
            self._open[name] -= numel

    def check_complete(self) -> None:
        """Refuse to publish a tensor that holds elements nobody wrote.

        Raises:
            RuntimeError: this is a fault of the program, not of the user.
        """
        missing = {name: count for name, count in self._open.items() if count > 0}
        if missing:
            name, count = next(iter(missing.items()))
            raise RuntimeError(f"{len(missing)} tensors were not written in full; `{name}` lacks {count} elements")


def check_values(spec: TensorSpec, start: int, values: Tensor) -> None:
    """Refuse values that are not a flat, contiguous run of the tensor's own dtype, inside the tensor."""
    check_range(spec.name, start, start + values.numel(), spec.numel)
    dtype = str(values.dtype).removeprefix("torch.")
    if dtype != spec.dtype or values.dim() != 1:
        found = f"{dtype} of shape {tuple(values.shape)}"
        raise ValueError(f"`{spec.name}` takes a flat row of {spec.dtype}, found {found}")


def check_name(name: str, taken: Iterable[str]) -> None:
    """Refuse the name of an added file that leads out of the output or is taken."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.as_posix() != name or name in ("", "."):
        raise ValueError(f"`{name}` is not the name of a file inside the output")
    if name in taken:
        raise ValueError(f"`{name}` is in the output already")
