"""EMR: elect a sign per entry, and take the largest delta of that sign: the model that task packs start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import LAMBDA
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

EMR = Cite("Huang et al. 2024, EMR-Merging: tuning-free high-performance model merging", arxiv="2405.17461")


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(1, None),
    formula="γ = sign(Σ δᵢ), 0 counting as +1\n"
    "y = b + λ γ max {|δᵢ| : sign(δᵢ) = γ}, and b where no delta has that sign",
    params=(LAMBDA,),
    laws=(
        "identity",
        "copies",
        "permutation",
        "lambda-zero",
        "tiles",
        "scale-equivariance",
        "seed",
        "finite",
    ),
    cite=(EMR,),
    differs=(
        "This is the unified model alone, the paper's step E; its masks and rescalers make a model per task of it, "
        "and are what `cuvee pack` writes.",
        "A sum of 0 counts as plus, as in all elections here; it is nothing in the paper (sgn 0 = 0), and minus in the "
        "authors' code.",
    ),
)
def emr(deltas: Tensor, lambda_: float) -> Tensor:
    """Take, entry by entry, the largest of the deltas that have the elected sign.

    Section 3.2 of the paper, "Elect".

    Args:
        deltas: `[K, n]`, model minus base.
        lambda_: scale of the unified delta; the paper has none.

    Returns:
        The unified delta, `[n]`.
    """
    agreeing = deltas * tensors.agreement(deltas)
    # All that is left of an entry has one sign, so that one of the two is 0.
    return (agreeing.amax(dim=0).clamp_(min=0) + agreeing.amin(dim=0).clamp_(max=0)) * lambda_
