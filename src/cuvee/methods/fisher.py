"""Fisher merging: average every parameter, each model counting as much as it is sure of its own value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import SHARE
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT = replace(SHARE, doc="how much this model counts, besides what was collected")


@merge_method(
    space="weight",
    scope="element",
    base="input",
    models=(1, None),
    family="quadratic",
    formula="y = Σ wᵢ Fᵢ xᵢ / Σ wᵢ Fᵢ,   Fᵢ = diagonal of model i's Fisher information\n"
    "y = the plain mean                    where nothing was collected, or every wᵢ Fᵢ is 0",
    params=(WEIGHT,),
    divides_by="weight",
    collected="fisher",
    laws=("identity", "copies", "permutation", "zero-weight", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Matena and Raffel 2022, Merging models with Fisher-weighted averaging", arxiv="2111.09832"),),
    differs=(
        "The authors' code adds 1e-6 to small Fishers and scales every model's to one length; here they count as they "
        "are, and an entry that no model is sure of gets the plain mean.",
    ),
)
def fisher(models: Tensor, weight: Tensor, collected: Sequence[Tensor] | None) -> Tensor:
    """Average the models, each parameter of each counting by its Fisher information (eq. 2 of the paper).

    Args:
        models: `[K, n]`.
        weight: `[K]`, at least 0.
        collected: K diagonals `[n]`, not negative; `None` gives the mean with these weights.

    Returns:
        `[n]`.
    """
    sure = models.new_ones(models.shape) if collected is None else _stacked(collected)
    return tensors.solve_diagonal(models, sure, weight).to(models.dtype)


def _stacked(diagonals: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack([one.double() for one in diagonals])
