"""WiSE-FT: on the straight line between the base and a fine-tune of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

ALPHA = Param("alpha", "float", "0 is the base model, 1 the fine-tune", default=0.5, low=0.0, high=1.0)


@merge_method(
    family="average",
    space="weight",
    scope="element",
    base="required",
    models=(1, 1),
    formula="y = (1−alpha) b + alpha x",
    params=(ALPHA,),
    laws=("endpoints", "symmetry", "copies", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Wortsman et al. 2022, Robust fine-tuning of zero-shot models (WiSE-FT)", arxiv="2109.01903"),),
)
def wise_ft(models: Tensor, alpha: float) -> Tensor:
    """Interpolate linearly between the base and one model.

    Args:
        models: `[2, n]`, the base first.
        alpha: how far to go, [0, 1]; the paper recommends 0.5 where there is nothing to tune it on.

    Returns:
        `[n]`.
    """
    return models[0] * (1.0 - alpha) + models[1] * alpha
