"""What passes between a method and whoever runs it: the tensor's settings, and the passes before the combination."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cuvee.types import Scope, argument, grain_of, rows_of

__all__ = ["AnyMeasure", "Factors", "Holds", "Job", "Measure", "Round", "Survey", "Surveys", "argument", "sums_held"]

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Job:
    """One tensor to be merged, as far as a method may know of it.

    Attributes:
        settings: resolved parameters by Python name: float64 `[K]` for per-model ones, plain values for shared ones.
        numel: elements of the whole tensor.
        dtype: dtype of the arithmetic, float32 or float64.
        keys: one random stream per model of the stack.
        shape: of the whole tensor.
        scope: the smallest piece that the arithmetic is run on, under these settings.
        whole: what the survey of all tensors concluded, for methods that have one.
    """

    settings: Mapping[str, Any]
    numel: int
    dtype: torch.dtype
    keys: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    scope: Scope = "element"
    whole: Any = None

    @property
    def width(self) -> int:
        """Entries of a row of the whole tensor."""
        return rows_of(self.shape)[1]

    @property
    def grain(self) -> int:
        """Elements that must stay together."""
        return grain_of(self.scope, self.shape)


@dataclass(frozen=True)
class Round:
    """One pass over a tensor before `combine`.

    Attributes:
        observe: `(stack, start, job, known) -> partial`, pure; `start` is the tile's first element. Partials of two
            tiles are added with `+`, which gives the same bytes in any order. The stack is what `combine` would see.
        conclude: `(sum of all partials, job, known) -> known`, what the next round or `combine` gets.
    """

    observe: Callable[[Tensor, int, Job, Any], Any]
    conclude: Callable[[Any, Job, Any], Any]


@dataclass(frozen=True)
class Survey:
    """One pass over all tensors that are merged, before any of them is.

    Attributes:
        round: the pass over each tensor. What it concludes of a tensor is added to what it concludes of the others
            with `+`, which gives the same bytes in any order.
        conclude: `(sum over all tensors, job, known) -> known`, what the next survey or, as `Job.whole`, every tensor
            gets. The job is that of the model: all elements, and the settings that all tensors share.
    """

    round: Round
    conclude: Callable[[Any, Job, Any], Any]


Surveys = Callable[[Job, int, Any], Survey | None]
"""`(the model's job, surveys done, known) -> next survey`, `None` when enough is known."""

Measure = Callable[[Job, int, Any], Round | None]
"""`(job, rounds done, known) -> next round`, `None` when enough is known."""

AnyMeasure = Callable[[Job, int, Any], Any]
"""The same where the rounds may be those of a fused form."""

Holds = Callable[[int, int, int], int]
"""`(elements, tensors read, elements per tile) -> bytes` that the passes of a method hold of one tensor, at most."""


Factors = Callable[[int, int, int], int]
"""`(rows, width, tensors read) -> bytes` that the arithmetic on a whole matrix holds besides its tiles, at most."""


def sums_held(numel: int, rows: int) -> int:
    """Bytes of so many rows of block sums of a tensor, twice where they are joined, and one row as Python numbers."""
    return (numel // 1024 + 1) * (16 * rows + 40)


def inner_products_held(numel: int, models: int, _tile: int) -> int:
    """Bytes that the inner products of all pairs of models hold, summed block by block."""
    return sums_held(numel, models * (models + 1) // 2)
