"""Passthrough: take tensors as they are, for stacking layers; optionally scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

SCALE = Param("scale", "float", "what the tensor is multiplied with; any finite number", default=1.0, per_model=True)


@merge_method(
    family="layers",
    space="weight",
    scope="element",
    base="input",
    models=(1, 1),
    formula="y = scale · x",
    params=(SCALE,),
    copies_when={"scale": 1.0},
    laws=("identity", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Kim et al. 2023, SOLAR 10.7B: depth up-scaling", arxiv="2312.15166"),),
    differs=(
        "Per-layer lists of the configuration (`layer_types`, sliding-window patterns …) follow the layers; mergekit "
        "fails while writing the configuration of Qwen2/3, Gemma2/3 and Cohere2.",
    ),
)
def passthrough(models: Tensor, scale: Tensor) -> Tensor:
    """Copy one model's tensor, scaled.

    Args:
        models: `[1, n]`.
        scale: `[1]`.

    Returns:
        `[n]`.
    """
    return models[0] * scale[0]
