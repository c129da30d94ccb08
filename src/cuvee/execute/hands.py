"""The memory that a worker keeps from tile to tile, so that none of it is new to the system each time."""

from __future__ import annotations

import torch
from torch import Tensor

ROW_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
"""The dtypes that a fused form reads and writes."""


class Hands:
    """Buffers of one worker; what is handed out is good until the next tile."""

    def __init__(self) -> None:
        self._rows: dict[str, Tensor] = {}

    def rows(self, count: int, n: int, dtype: str) -> Tensor:
        """Room for a tile of every input, `[count, n]`."""
        return self._room(f"rows {dtype}", count * n, dtype).view(count, n)

    def out(self, n: int, dtype: str) -> Tensor:
        """Room for a tile of the output, `[n]`."""
        return self._room(f"out {dtype}", n, dtype)

    def _room(self, name: str, n: int, dtype: str) -> Tensor:
        held = self._rows.get(name)
        if held is None or len(held) < n:
            held = self._rows[name] = torch.empty(n, dtype=ROW_DTYPES[dtype])
        return held[:n]
