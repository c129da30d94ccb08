"""Geometric median: the point whose distances to the models sum up to the least, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, inner_products_held
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks

WEIGHT = Param(
    "weight",
    "float",
    "how much this model's distance counts; any number above 0",
    default=1.0,
    per_model=True,
    low=0.0,
    low_open=True,
)
EPS = Param(
    "eps",
    "float",
    "distances below count as this, and a step that is no longer ends the search; in units of the weights",
    default=1e-6,
    low=0.0,
    low_open=True,
    scales=True,
)
MAX_ITER = Param("max_iter", "int", "most steps", default=100, low=1)


def inner_products(models: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    """(xᵢ − x₁)·(xⱼ − x₁) of a tile: of models near each other the products themselves would cancel."""
    return tensors.gram_blocks(models[1:] - models[0], start)


def coefficients(total: Blocks, job: Job, _known: Any) -> tuple[float, ...]:
    """What every model is multiplied with."""
    weight, limits = job.settings["weight"].tolist(), (job.settings["eps"], job.settings["max_iter"])
    return tensors.median_coefficients(total.total(), weight, *limits)


def distances_first(job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the distances between the models."""
    return Round(inner_products, coefficients) if done == 0 and len(job.settings["weight"]) > 1 else None


@merge_method(
    family="robust",
    space="weight",
    scope="element",
    base="input",
    models=(1, None),
    formula="y = argmin_x Σ wᵢ ‖x − xᵢ‖ over the whole tensor, by Weiszfeld's steps from the weighted mean:\n"
    "x ← Σ wᵢ xᵢ/dᵢ / Σ wᵢ/dᵢ,   dᵢ = max(‖x − xᵢ‖, eps)",
    params=(WEIGHT, EPS, MAX_ITER),
    measure=distances_first,
    holds=inner_products_held,
    laws=("identity", "copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(
        Cite("Weiszfeld 1937, Sur le point pour lequel la somme des distances de n points donnés est minimum"),
        Cite("Pillutla, Kakade and Harchaoui 2022, Robust aggregation for federated learning", arxiv="1912.13445"),
    ),
)
def geometric_median(models: Tensor, statistics: tuple[float, ...] | None) -> Tensor:
    """Find the point nearest to all models, which one model cannot move far.

    Every step leads to a weighted mean of the models, so that only their coefficients are iterated on.

    Args:
        models: `[K, n]`.
        statistics: the coefficient of every model; they sum to 1. `None` for one model.

    Returns:
        `[n]`.
    """
    if statistics is None:
        return models[0].clone()
    return models[0] + tensors.weighted_sum(models[1:] - models[0], statistics[1:])
