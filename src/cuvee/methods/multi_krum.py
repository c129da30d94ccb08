"""Multi-Krum: the mean of the models that are nearest to most of the others, over the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods import krum
from cuvee.methods.declare import merge_method
from cuvee.types import Param

if TYPE_CHECKING:
    from torch import Tensor

M = Param("m", "int", "how many models are averaged", required=True, low=1)


def rule(settings: Mapping[str, Any]) -> str | None:
    """Enough models for f, and as many as are averaged."""
    m, models = settings["m"], settings["models"]
    return f"m must be at most the number of models, {models}; found {m}" if m > models else krum.rule(settings)


@merge_method(
    family="robust",
    space="weight",
    scope="model",
    base="input",
    models=(3, None),
    formula="sᵢ = Σ ‖xᵢ − xⱼ‖² over the n − f − 2 models xⱼ nearest to xᵢ, over all tensors\n"
    "y = mean of the m models of least s; of equal ones the first",
    params=(M, krum.F),
    rule=rule,
    survey=krum.survey,
    holds=krum.held,
    laws=("copies", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(krum.KRUM,),
)
def multi_krum(models: Tensor, m: int, whole: tuple[int, ...]) -> Tensor:
    """Average the models that are nearest to most of the others.

    Args:
        models: `[n, entries]`.
        m: how many of them.
        whole: the models in order, the chosen ones first.

    Returns:
        `[entries]`.
    """
    return tensors.mean_of(models[list(whole[:m])])
