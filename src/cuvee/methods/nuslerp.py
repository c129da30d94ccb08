"""Spherical interpolation of two models or of their deltas, by weights, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, inner_products_held
from cuvee.methods.params import WEIGHT
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks


FLATTEN = Param("nuslerp_flatten", "bool", "one angle for the whole tensor; false: one for each row", default=True)
ROW_WISE = Param(
    "nuslerp_row_wise", "bool", "where nuslerp_flatten is false: an angle for each column instead", default=False
)


def inner_products(stack: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    """‖a‖², a·b and ‖b‖² of a tile, of the deltas where there is a base."""
    return tensors.gram_blocks(tensors.less_base(stack, 2), start)


def coefficients(total: Blocks, job: Job, _known: Any) -> tuple[float, float]:
    """What a and b are multiplied with, from the angle between the whole tensors."""
    return tensors.arc_coefficients(total.total(), part(job.settings["weight"]))


def part(weight: Tensor) -> float:
    """t, how far to go from the first model to the second."""
    first, second = weight.tolist()
    return float(second / (first + second))


def angle_first(job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the angle of whole tensors; those of rows and columns are seen on the way."""
    return Round(inner_products, coefficients) if done == 0 and job.settings["nuslerp_flatten"] else None


@merge_method(
    family="sphere",
    space="weight",
    scope="element",
    base="optional",
    models=(2, 2),
    formula="t = w₂ / (w₁ + w₂);   θ = ∠(x₁, x₂) over the whole tensor\n"
    "y = sin((1−t)θ)/sin θ · x₁ + sin(tθ)/sin θ · x₂\n"
    "y = (1−t) x₁ + t x₂                    where sin θ ≤ 10⁻⁶\n"
    "with a base: the same of xᵢ − b, added to b\n"
    "nuslerp_flatten: false → the same of every row (along the last dimension) by itself; with nuslerp_row_wise: true\n"
    "of every column (along the first)",
    params=(WEIGHT, FLATTEN, ROW_WISE),
    scope_if=(
        ("nuslerp_flatten", False, "row"),
        ("nuslerp_row_wise", True, "matrix"),
        ("nuslerp_flatten", True, "element"),
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
        "`nuslerp_row_wise: true` means columns, against its name, as it does in mergekit.",
        "Weights that sum to 0 are refused; mergekit takes t = ½ where they sum to less than 1e-6.",
    ),
)
def nuslerp(
    models: Tensor,
    weight: Tensor,
    nuslerp_row_wise: bool,
    shape: tuple[int, ...],
    statistics: tuple[float, float] | None,
) -> Tensor:
    """Interpolate along the arc between two models, or between their deltas from a base.

    Args:
        models: `[2, n]`, or `[3, n]` with the base first; rows and columns are seen as `[2 or 3, rows, width]`.
        weight: `[2]`.
        nuslerp_row_wise: columns instead of rows, where there are no statistics.
        shape: of the whole tensor.
        statistics: the coefficients of both models; `None` where each row or column has its own.

    Returns:
        `[n]`, or as many entries in rows.
    """
    if statistics is not None:
        return tensors.combine_from_base(models, statistics)
    if nuslerp_row_wise and len(shape) > 1:
        return _by_row(models.transpose(1, 2), weight).T
    return _by_row(models.reshape(len(models), -1, shape[-1] if shape else 1), weight)


def _by_row(models: Tensor, weight: Tensor) -> Tensor:
    """Every row along an arc of its own, `[rows, width]`."""
    products, t = tensors.row_products(tensors.less_base(models, 2)), part(weight)
    found = [tensors.arc_coefficients(of_row, t) for of_row in products.T.tolist()]
    return tensors.combine_from_base(models, models.new_tensor(found).T.unsqueeze(2))
