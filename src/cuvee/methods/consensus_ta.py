"""Consensus merging: the sum of the deltas, on the entries that several tasks use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.params import LAMBDA
from cuvee.methods.task_arithmetic import TASK_ARITHMETIC
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

TALL_LAMBDA = Param(
    "tall_lambda",
    "float",
    "how much larger an entry must be than the rest of the sum for its task to use it; the paper looks between 0.2 and "
    "0.6",
    default=0.4,
    per_model=True,
    low=0.0,
)
K = Param(
    "k",
    "int",
    "fewest tasks that must use an entry for it to stay; 0 keeps all, 1 drops those of none",
    default=2,
    low=0,
)


def rule(settings: Mapping[str, Any]) -> str | None:
    """No entry has more users than there are models."""
    k, models = settings["k"], settings["models"]
    return f"k must be at most the number of models, {models}; found {k}" if k > models else None


@merge_method(
    family="sparse",
    space="delta",
    scope="element",
    base="required",
    models=(2, None),
    formula="S = Σ δᵢ;   mᵢ = [|δᵢ| > tall_lambdaᵢ |S − δᵢ|], task i's TALL mask\n"
    "y = b + λ S     where Σ mᵢ ≥ k\n"
    "y = b           elsewhere",
    params=(TALL_LAMBDA, K, LAMBDA),
    rule=rule,
    laws=("permutation", "lambda-zero", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(
        Cite(
            "Wang et al. 2024, Localizing task information for improved model merging and compression",
            arxiv="2405.07813",
        ),
        TASK_ARITHMETIC,
    ),
)
def consensus_ta(deltas: Tensor, tall_lambda: Tensor, k: int, lambda_: float) -> Tensor:
    """Add up the deltas, and drop what fewer than k tasks use.

    Args:
        deltas: `[K, n]`, model minus base.
        tall_lambda: `[K]`, ≥ 0.
        k: fewest users of an entry that stays.
        lambda_: scale of the merged delta.

    Returns:
        The merged delta, `[n]`.
    """
    total = tensors.weighted_sum(deltas, deltas.new_ones(len(deltas)))
    users = tensors.users_of(deltas, total, tall_lambda)
    return tensors.keep_where(total, users - k) * lambda_
