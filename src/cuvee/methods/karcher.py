"""Karcher mean: the direction from which the squared angles to all models are least, at their mean length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, inner_products_held
from cuvee.methods.params import SHARE
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks

MAX_ITER = Param("max_iter", "int", "steps towards the mean at most; 0 stays at the mean direction", 10, low=0)
TOL = Param("tol", "float", "length of a step, in radians, at which the mean is found", default=1e-5, low=0.0)


def inner_products(stack: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    """xᵢ·xⱼ of a tile."""
    return tensors.gram_blocks(stack, start)


def coefficients(total: Blocks, job: Job, _known: Any) -> tuple[float, ...]:
    """What every model is multiplied with: all iterations happen here, on K numbers."""
    asked = job.settings
    return tensors.karcher_coefficients(total.total(), asked["weight"].tolist(), asked["max_iter"], asked["tol"])


def angles_first(_job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the angles."""
    return Round(inner_products, coefficients) if done == 0 else None


@merge_method(
    family="sphere",
    space="weight",
    scope="element",
    base="input",
    models=(1, None),
    formula="uᵢ = xᵢ/‖xᵢ‖ over the whole tensor;   αᵢ = wᵢ/Σ w\n"
    "p = argmin Σ αᵢ ∠(p, uᵢ)²,  by steps from Σ αᵢ uᵢ / ‖Σ αᵢ uᵢ‖ until ‖v‖ ≤ tol or max_iter were taken:\n"
    "    v = Σ αᵢ θᵢ/sin θᵢ (uᵢ − cos θᵢ p),   θᵢ = ∠(p, uᵢ);      p ← cos‖v‖ p + sin‖v‖ v/‖v‖\n"
    "y = p · Σ αᵢ‖xᵢ‖\n"
    "y = Σ αᵢ xᵢ                    where the directions cancel, ‖Σ αᵢ uᵢ‖ ≤ 10⁻⁶",
    params=(SHARE, MAX_ITER, TOL),
    measure=angles_first,
    holds=inner_products_held,
    divides_by="weight",
    laws=(
        "identity",
        "copies",
        "permutation",
        "zero-weight",
        "length",
        "tiles",
        "scale-equivariance",
        "seed",
        "finite",
    ),
    cite=(
        Cite("Karcher 1977, Riemannian center of mass and mollifier smoothing, Comm. Pure Appl. Math. 30"),
        Cite("Buss & Fillmore 2001, Spherical averages and applications to spherical splines, ACM TOG 20(2)"),
    ),
    differs=(
        "Each model may have a `weight`; mergekit's karcher weighs all the same, as the default of 1 does.",
        "Angles and steps are worked out in float64 from the inner products of the models, in one pass; mergekit "
        "goes over the tensors in every step and rounds unit vectors to the dtype of the models.",
        "mergekit drops a tensor whose norm is at most `tol` and gives zeros where all are that faint; here `tol` "
        "is an angle, and only a tensor of zeros has no direction.",
        "Where the directions cancel no mean exists and the weighted mean of the models is taken; mergekit starts "
        "from the first model there.",
    ),
)
def karcher(models: Tensor, statistics: tuple[float, ...]) -> Tensor:
    """Take the mean of the models on the sphere, at the mean of their lengths, tensor by tensor.

    Args:
        models: `[K, n]`.
        statistics: the coefficient of every model.

    Returns:
        `[n]`.
    """
    return tensors.weighted_sum(models, statistics)
