"""What a fused method is: the passes and the combination of a method, on rows of bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cuvee.methods import Job, Round

    Rows = NDArray[np.unsignedinteger[Any]]
    """A tile of every model, the base first where there is one: `[K, n]` of uint16 (bfloat16) or uint32 (float32)."""
    Row = NDArray[np.unsignedinteger[Any]]
    """A tile of the output, `[n]`."""
    Combine = Callable[[Rows, int, Row], int]
    """`(rows, start, out) -> largest magnitude met`: writes a tile of the output."""

INFINITE: Final = 0x7F800000
"""A kernel answers with the largest magnitude it met, as the bits of a float32; from here on it is no number."""


@dataclass(frozen=True)
class FusedRound:
    """A pass over a tensor, or over a sample of it, on rows of bits.

    Attributes:
        observe: `(rows, start) -> (partial, largest magnitude met)`, as `Round.observe` otherwise.
        conclude: `(sum of all partials, job, known) -> known`.
        sample: the runs of elements to be shown, one after the other in one tile; `None` for all of the tensor.
    """

    observe: Callable[[Rows, int], tuple[Any, int]]
    conclude: Callable[[Any, Job, Any], Any]
    sample: Sequence[tuple[int, int]] | None = None


@dataclass(frozen=True)
class Fused:
    """The fast form of a method; it gives the bytes of the plain one.

    Attributes:
        combiner: `(job, known) -> Combine`.
        measure: `(job, rounds done, known) -> next round`; a plain `Round` where a pass has no fast form. What is known
            in the end is what the plain passes would find.
    """

    combiner: Callable[[Job, Any], Combine]
    measure: Callable[[Job, int, Any], FusedRound | Round | None]
