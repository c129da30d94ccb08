"""What a mixture is made of besides its members: routers, noise, and zeros, as a reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cuvee.checkpoint.memory import MemoryReader
from cuvee.checkpoint.view import View
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

LABEL = "made by cuvee"
Source = Callable[[int, int], "Tensor"]
"""Gives the elements from one number to another of a tensor, float32."""


class Made(View):
    """A `Reader` of tensors that are worked out when they are read, each a function of position.

    Args:
        specs: the tensors.
        sources: what gives the elements of each.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], sources: Mapping[str, Source]) -> None:
        super().__init__(MemoryReader(LABEL, {}))
        self._specs = dict(specs)
        self._sources = sources

    def computes(self, name: str) -> bool:
        """All of them are."""
        return name in self._specs

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name."""
        return self._specs

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor."""
        return self._sources[name](start, stop)


def zeros(start: int, stop: int) -> Tensor:
    """Nothing but zeros."""
    import torch

    return torch.zeros(stop - start)


def noise(seed: int, name: str) -> Source:
    """Draws close to N(0, 1), a stream for every output tensor."""
    from cuvee.tensors.random import normal, stream_key

    key = stream_key(seed, "noise", name)
    return lambda start, stop: normal(key, start, stop)


def stored(values: Tensor) -> Source:
    """The elements of a tensor in memory."""
    flat = values.float().contiguous().flatten()
    return lambda start, stop: flat[start:stop]
