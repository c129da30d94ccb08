"""Whether a device gives the bytes of the processor: what it does for the first time in a run is compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import torch
from torch import Tensor

PROVED: Final = 1 << 16
"""Entries of a tile that are compared at most."""


class Proof:
    """Shared by the workers of a run.

    Args:
        device: the device's name.
        method: the method's name.
    """

    def __init__(self, device: str, method: str) -> None:
        self._device = device
        self._method = method
        self._settled: set[tuple[str, ...]] = set()
        self.broken = False

    def wants(self, kind: tuple[str, ...]) -> bool:
        """Whether too little of that kind has been compared yet."""
        return kind not in self._settled

    def settle(self, kind: tuple[str, ...], expected: Any, found: Any, entries: int) -> None:
        """Compare what the processor and the device made of so many entries; where they differ the device is left.

        Few entries say little: the kind is settled by the first comparison of `PROVED`.
        """
        if not same(expected, found) and not self.broken:
            self.broken = True
            message = (
                f"{self._method} gives other bytes on {self._device} than on the processor, which is used from here "
                "on. Please report it"
            )
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        if entries >= PROVED:
            self._settled.add(kind)  # last: until then every other worker compares for itself


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to the bit, tensors in dataclasses, mappings, tuples and lists too."""
    if isinstance(one, Tensor):
        alike = isinstance(other, Tensor) and (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and torch.equal(_bits(one), _bits(other))
    if is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().reshape(-1).view(torch.uint8)
