"""RAM: average every entry over the models that changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

RAM = Cite("Yuan et al. 2026, Behavior knowledge merge in reinforced agentic models (RAM)", arxiv="2601.13572")
EPSILON = Param(
    "epsilon", "float", "a change is one by more than this, in units of the weights", 1e-5, low=0.0, scales=True
)


@merge_method(
    family="gated",
    space="delta",
    scope="element",
    base="required",
    models=(1, None),
    formula="Aᵢ = [|δᵢ| > epsilon];   c = Σ Aᵢ, the number of models that changed an entry\n"
    "y = b + Σ Aᵢ δᵢ / c,   b where c = 0",
    params=(EPSILON,),
    laws=("permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(RAM,),
    differs=("mergekit compares and averages in the dtype of the models; here in float32 or wider.",),
)
def ram(deltas: Tensor, epsilon: float) -> Tensor:
    """Average, entry by entry, the deltas of the models that changed it; one that only one model changed stays whole.

    Args:
        deltas: `[K, n]`, model minus base.
        epsilon: magnitude above which an entry counts as changed.

    Returns:
        The merged delta, `[n]`.
    """
    kept = tensors.keep_above(deltas, epsilon)
    ones = [1.0] * len(kept)
    return tensors.weighted_sum(kept, ones) / changes(kept).clamp_(min=1)


def changes(kept: Tensor) -> Tensor:
    """How many models changed each entry: how many of the kept deltas are not zero, `[n]`."""
    return tensors.weighted_sum(kept.sign().abs_(), [1.0] * len(kept))
