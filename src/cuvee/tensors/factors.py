"""Singular value decompositions, which somebody who makes many merges of the same models may keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import torch
from torch import Tensor

Factors = tuple[Tensor, Tensor, Tensor]
"""U `[m, k]`, the singular values `[k]`, largest first, and Vᵀ `[k, n]`, with k = min(m, n)."""
Keeper = Callable[[Tensor, Callable[[], Factors]], Factors]
"""Given a matrix and what factors it, gives its factors: those of the same matrix from before, if there are any."""

_KEEPER: Final[ContextVar[Keeper | None]] = ContextVar("keeper", default=None)


def factors_of(matrix: Tensor) -> Factors:
    """The singular value decomposition; nobody may change what it gives.

    Args:
        matrix: `[m, n]`, float64.
    """

    def make() -> Factors:
        u, sigma, vt = torch.linalg.svd(matrix, full_matrices=False)
        return u, sigma, vt

    keeper = _KEEPER.get()
    return make() if keeper is None else keeper(matrix, make)


@contextmanager
def factors_kept(keeper: Keeper) -> Iterator[None]:
    """Have a keeper asked for every decomposition of this thread while the context lasts."""
    before = _KEEPER.set(keeper)
    try:
        yield
    finally:
        _KEEPER.reset(before)
