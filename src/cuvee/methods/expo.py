"""ExPO: on along the way that training went, past the fine-tune."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

ALPHA = Param("alpha", "float", "how far past the model, as a share of its way from the base", default=0.3, low=0.0)


@merge_method(
    family="task",
    space="weight",
    scope="element",
    base="required",
    models=(1, 1),
    formula="y = x + alpha (x − b)",
    params=(ALPHA,),
    laws=("copies", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Zheng et al. 2024, Weak-to-strong extrapolation expedites alignment (ExPO)", arxiv="2404.16792"),),
)
def expo(models: Tensor, alpha: float) -> Tensor:
    """Extrapolate from the base through one model.

    The base is the model before alignment (the paper's weaker one), the other the model after it.

    Args:
        models: `[2, n]`, the base first.
        alpha: how far past the model, ≥ 0.

    Returns:
        `[n]`.
    """
    base, model = models
    found: Tensor = model + (model - base) * alpha
    return found
