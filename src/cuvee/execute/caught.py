"""Tiles that are handed back instead of written."""

from __future__ import annotations

import torch
from torch import Tensor


class Caught:
    """A `Filler` that hands back what is written."""

    def __init__(self) -> None:
        self._parts: dict[int, Tensor] = {}

    def write(self, _name: str, start: int, values: Tensor) -> None:
        """Keep flat values."""
        self._parts[start] = values

    def digest(self, name: str) -> str:
        """Nothing is hashed here."""
        raise NotImplementedError(name)

    def joined(self) -> Tensor:
        """All that was written, in the order of its place."""
        parts = [self._parts[start] for start in sorted(self._parts)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
