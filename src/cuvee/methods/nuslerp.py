"""Spherical interpolation of two models or of their deltas, by weights, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, inner_products_held
from cuvee.methods.params import WEIGHT, ignored
from cuvee.types import Cite

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks


def inner_products(stack: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    """‖a‖², a·b and ‖b‖² of a tile, of the deltas where there is a base."""
    return tensors.gram_blocks(tensors.less_base(stack, 2), start)


def coefficients(total: Blocks, job: Job, _known: Any) -> tuple[float, float]:
    """What a and b are multiplied with, from the angle between the whole tensors."""
    first, second = job.settings["weight"].tolist()
    return tensors.arc_coefficients(total.total(), second / (first + second))


def angle_first(_job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the angle."""
    return Round(inner_products, coefficients) if done == 0 else None


@merge_method(
    space="weight",
    scope="element",
    base="optional",
    models=(2, 2),
    formula="t = w₂ / (w₁ + w₂);   θ = ∠(x₁, x₂) over the whole tensor\n"
    "y = sin((1−t)θ)/sin θ · x₁ + sin(tθ)/sin θ · x₂\n"
    "y = (1−t) x₁ + t x₂                    where sin θ ≤ 10⁻⁶\n"
    "with a base: the same of xᵢ − b, added to b",
    params=(
        WEIGHT,
        ignored("nuslerp_row_wise", "bool", "tells rows from columns where each has an angle of its own"),
    ),
    measure=angle_first,
    holds=inner_products_held,
    divides_by="weight",
    laws=("copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(
        Cite("Shoemake 1985, Animating rotation with quaternion curves, SIGGRAPH"),
        Cite("Goddard et al. 2024, Arcee's MergeKit", arxiv="2403.13257"),
    ),
    differs=(
        "The angle is summed in float64; mergekit works in the dtype of the models, and in bfloat16 knows an angle "
        "to two digits.",
        "mergekit takes norms below 1e-7 for 1e-7, so that faint tensors come out at right angles; here the angle "
        "does not depend on the norm, and only a tensor of zeros counts as orthogonal.",
        "The interpolation is linear where sin θ ≤ 1e-6; mergekit's limit of 1e-8 is finer than its arithmetic.",
        "Weights that sum to 0 are refused; mergekit takes t = ½ where they sum to less than 1e-6.",
    ),
)
def nuslerp(models: Tensor, statistics: tuple[float, float]) -> Tensor:
    """Interpolate along the arc between two models, or between their deltas from a base.

    Args:
        models: `[2, n]`, or `[3, n]` with the base first.
        statistics: the coefficients of both models.

    Returns:
        `[n]`.
    """
    return tensors.combine_from_base(models, statistics)
