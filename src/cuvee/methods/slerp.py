"""Spherical interpolation between two models, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, sums_held
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks

T = Param("t", "float", "0 is the base model, 1 the other", required=True, low=0.0, high=1.0)
NORM = Param(
    "norm",
    "choice",
    "what goes along the arc: the tensors as they are, which leaves their norm to chance (raw, as in mergekit), or "
    "their directions, while the norm goes evenly from one to the other (interpolated)",
    default="raw",
    options=("raw", "interpolated"),
)


def inner_products(stack: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    """‖a‖², a·b and ‖b‖² of a tile."""
    return tensors.gram_blocks(stack, start)


def coefficients(total: Blocks, job: Job, _known: Any) -> tuple[float, float]:
    """What a and b are multiplied with, from the angle between the whole tensors."""
    find = {"raw": tensors.slerp_coefficients, "interpolated": tensors.slerp_unit_coefficients}[job.settings["norm"]]
    aa, ab, bb = total.total()
    return find(aa, ab, bb, job.settings["t"])


def angle_first(_job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the angle."""
    return Round(inner_products, coefficients) if done == 0 else None


@merge_method(
    family="sphere",
    space="weight",
    scope="element",
    base="required",
    models=(1, 1),
    formula="y = sin((1−t)θ)/sin θ · a + sin(tθ)/sin θ · b,   θ = ∠(a, b) over the whole tensor, a = base\n"
    "y = (1−t) a + t b                      where |cos θ| > 0.9995\n"
    "norm: interpolated → the same of a/‖a‖ and b/‖b‖, times (1−t)‖a‖ + t‖b‖",
    params=(T, NORM),
    measure=angle_first,
    holds=lambda numel, _models, _tile: sums_held(numel, 3),
    laws=("endpoints", "symmetry", "copies", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Shoemake 1985, Animating rotation with quaternion curves, SIGGRAPH"),),
    differs=(
        "The angle is summed in float64 with a fixed order; mergekit sums in float32 (differences up to 5e-6 where "
        "the angle is small).",
        "As in mergekit, the coefficients apply to the tensors as they are, so the norm is not kept, and above "
        "|cos θ| = 0.9995 the interpolation is linear. sd-mecha interpolates directions and norm, each by itself: "
        "`norm: interpolated`.",
    ),
)
def slerp(models: Tensor, statistics: tuple[float, float]) -> Tensor:
    """Interpolate along the arc between the base and one other model.

    Args:
        models: `[2, n]`, the base first.
        statistics: the coefficients of both.

    Returns:
        `[n]`.
    """
    of_base, of_other = statistics
    return models[0] * of_base + models[1] * of_other
