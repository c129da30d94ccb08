"""The memory that a worker keeps from tile to tile, so that none of it is new to the system each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from cuvee.checkpoint.flat import writable_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bits = NDArray[np.unsignedinteger[Any]]

ROW_DTYPES: Final = {"bfloat16": torch.bfloat16, "float32": torch.float32}
"""The dtypes that a fused form reads and writes."""
_BITS: Final = {torch.bfloat16: torch.uint16, torch.float32: torch.uint32}


@dataclass(frozen=True)
class Room:
    """Room for some rows, seen as everybody needs it: looking at it anew for every tile would cost more than a copy.

    Attributes:
        rows: `[K, n]`.
        each: its rows.
        into: their bytes, to be written to.
        bits: all of it as uint16 or uint32, for a fused form.
    """

    rows: Tensor
    each: tuple[Tensor, ...]
    into: tuple[memoryview, ...]
    bits: Bits

    @staticmethod
    def over(rows: Tensor) -> Room:
        """The views of some rows."""
        each = rows.unbind()
        return Room(rows, each, tuple(map(writable_bytes, each)), rows.view(_BITS[rows.dtype]).numpy())


class Hands:
    """Buffers of one worker; what is handed out is good until the next tile."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._last: dict[str, Room] = {}

    def rows(self, count: int, n: int, dtype: str) -> Room:
        """Room for a tile of every input, `[count, n]`."""
        return self._room(f"rows {dtype}", count, n, dtype)

    def out(self, n: int, dtype: str) -> Room:
        """Room for a tile of the output, `[1, n]`."""
        return self._room(f"out {dtype}", 1, n, dtype)

    def _room(self, name: str, count: int, n: int, dtype: str) -> Room:
        last = self._last.get(name)
        if last is not None and last.rows.shape == (count, n):
            return last
        held = self._held.get(name)
        if held is None or len(held) < count * n:
            held = self._held[name] = torch.empty(count * n, dtype=ROW_DTYPES[dtype])
        found = self._last[name] = Room.over(held[: count * n].view(count, n))
        return found
