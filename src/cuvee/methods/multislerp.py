"""Spherical interpolation of any number of models: the mean direction, at the mean length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, inner_products_held
from cuvee.methods.params import WEIGHT, ignored
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks

NORMALIZE_WEIGHTS = Param("normalize_weights", "bool", "divide the weights by their sum", default=True)


def inner_products(stack: Tensor, start: int, job: Job, _known: Any) -> Blocks:
    """xᵢ·xⱼ of a tile, of the deltas where there is a base."""
    return tensors.gram_blocks(tensors.less_base(stack, len(job.settings["weight"])), start)


def coefficients(total: Blocks, job: Job, _known: Any) -> tuple[float, ...]:
    """What every model is multiplied with."""
    weights = job.settings["weight"].tolist()
    divisor = math.fsum(weights) if job.settings["normalize_weights"] else 1.0
    return tensors.multislerp_coefficients(total.total(), [w / divisor for w in weights])


def angles_first(_job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the angles."""
    return Round(inner_products, coefficients) if done == 0 else None


@merge_method(
    family="sphere",
    space="weight",
    scope="element",
    base="optional",
    models=(1, None),
    formula="uᵢ = xᵢ/‖xᵢ‖ over the whole tensor;   m = Σ wᵢ uᵢ\n"
    "wᵢ = weightᵢ / Σ weight       (normalize_weights: false → undivided)\n"
    "y = m/‖m‖ · Σ wᵢ‖xᵢ‖\n"
    "y = Σ wᵢ xᵢ                    where the directions cancel, ‖m‖ ≤ 10⁻⁶ Σ|wᵢ|\n"
    "with a base: the same of xᵢ − b, added to b",
    params=(
        WEIGHT,
        NORMALIZE_WEIGHTS,
        ignored("eps", "float", "mergekit's guard against division by zero; only exact zeros need one"),
    ),
    measure=angles_first,
    holds=inner_products_held,
    divides_by="weight",
    divides_when="normalize_weights",
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
        Cite("Goddard et al. 2024, Arcee's MergeKit", arxiv="2403.13257"),
        Cite("Buss & Fillmore 2001, Spherical averages and applications to spherical splines, ACM TOG 20(2)"),
    ),
    differs=(
        "mergekit's multislerp also moves along Σ wᵢ (uᵢ − (uᵢ·m)m), m of length 1, which is 0 by the choice of m: "
        "what remains is the mean direction itself; `karcher` is the mean along arcs.",
        "Where the directions cancel mergekit takes the weighted sum of two models, and fails with more; here it "
        "is the weighted sum for any number.",
        "mergekit's `eps` of 1e-8 is added to every length and bounds ‖m‖, so that faint tensors count for less in "
        "the direction; here only a tensor of zeros has none.",
        "With `normalize_weights: false` a single model is multiplied with its weight, as it is among others, sign "
        "aside; mergekit gives it back whatever the weight.",
        "Weights that sum to 0 are refused where they are divided by their sum; mergekit writes NaN or infinity.",
    ),
)
def multislerp(models: Tensor, statistics: tuple[float, ...]) -> Tensor:
    """Take the mean direction of the models, at the mean of their lengths, tensor by tensor.

    Args:
        models: `[K, n]`, or `[1 + K, n]` with the base first.
        statistics: the coefficient of every model.

    Returns:
        `[n]`.
    """
    return tensors.combine_from_base(models, statistics)
