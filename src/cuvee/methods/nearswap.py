"""Nearswap: the other model, where it is near the base; elsewhere the base, moved towards it by no more than t."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

T = Param(
    "t",
    "float",
    "how far from the base an entry may move at most, in units of the weights",
    required=True,
    low=0.0,
    low_open=True,
    scales=True,
)


@merge_method(
    family="gated",
    space="weight",
    scope="element",
    base="required",
    models=(1, 1),
    formula="ω = min(1, t / |x − b|)\ny = ω x + (1−ω) b      that is, x where |x − b| ≤ t, else b + t sign(x − b)",
    params=(T,),
    laws=("copies", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(
        Cite("Goddard et al. 2024, Arcee's MergeKit", arxiv="2403.13257"),
        Cite(
            "alchemonaut 2024, QuartetAnemoi-70B: NearSwap",
            url="https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
        ),
    ),
    differs=(
        "mergekit takes distances below 1e-6 for 1e-6, so that with a smaller t entries never move all the way; here "
        "there is no such limit.",
        "A t of 0 or less is refused: it gives the base.",
    ),
)
def nearswap(models: Tensor, t: float) -> Tensor:
    """Take the other model's entries, none further from the base than t.

    Args:
        models: `[2, n]`, the base first.
        t: largest distance from the base, > 0.

    Returns:
        `[n]`.
    """
    base, other = models[0], models[1]
    apart = other - base
    # The excess is taken off rather than the rest added to the base, so that what is near enough stays to the bit.
    return other - (apart - apart.clamp(-t, t))
