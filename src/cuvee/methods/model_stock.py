"""Model Stock: from the base towards the mean of the models, as far as the angle between their deltas says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, inner_products_held
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Blocks


AVERAGE = Param(
    "average",
    "choice",
    "what of the pairs is averaged: the cosines of their angles (mergekit), or the angles (FusionBench)",
    default="cosine",
    options=("cosine", "angle"),
)
FILTER_WISE = Param("filter_wise", "bool", "a ratio for each row, which makes one output channel", default=False)


def inner_products(deltas: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    """δᵢ·δⱼ of a tile."""
    return tensors.gram_blocks(deltas, start)


def ratio(total: Blocks, job: Job, _known: Any) -> float:
    """How far to go, from the angles between the whole deltas."""
    return ratio_by(job.settings["average"])(total.total())


def ratio_by(average: str) -> Callable[[Sequence[float]], float]:
    """How the ratio comes from inner products."""
    return {"cosine": tensors.stock_ratio, "angle": tensors.stock_ratio_of_angles}[average]


def angles_first(job: Job, done: int, _known: Any) -> Round | None:
    """One pass for the angles of the whole deltas; those of rows are seen on the way."""
    return None if done or job.settings["filter_wise"] else Round(inner_products, ratio)


@merge_method(
    family="average",
    space="delta",
    scope="element",
    base="required",
    models=(2, None),
    scope_if=(("filter_wise", True, "row"),),
    formula="c = mean of cos ∠(δᵢ, δⱼ) over all pairs i < j, over the whole tensor\n"
    "c = cos of the mean of ∠(δᵢ, δⱼ)       with average: angle\n"
    "t = N c / (1 + (N−1) c);   0 where 1 + (N−1) c ≤ 10⁻⁶\n"
    "y = b + t · Σ δᵢ / N\n"
    "filter_wise: true → the same of each row (all of one output channel) by itself",
    params=(AVERAGE, FILTER_WISE),
    measure=angles_first,
    holds=inner_products_held,
    laws=("copies", "permutation", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(Cite("Jang et al. 2024, Model Stock: all we need is just a few fine-tuned models", arxiv="2403.19522"),),
    differs=(
        "As in mergekit, the models are all merged at once and each pair has its own angle, of which the mean is "
        "taken; the paper merges while it trains and takes one angle for all.",
        "As in mergekit, deltas that point away from each other on average give a negative t, which leads away "
        "from the mean; the paper knows angles below 90° only.",
        "mergekit divides by no less than 1e-6 where it takes a cosine, so that faint deltas count as orthogonal "
        "and the base comes out; here only a delta of zeros does.",
        "Cosines are summed in float64; mergekit sums in the dtype of the models.",
    ),
)
def model_stock(deltas: Tensor, average: str, statistics: float | None) -> Tensor:
    """Go from the base towards the mean of the models by the ratio of eq. 4 of the paper, tensor by tensor.

    Args:
        deltas: `[N, n]`, model minus base; `[N, rows, width]` where each row has a ratio of its own.
        average: what of the pairs is averaged.
        statistics: the ratio t; `None` where each row has its own.

    Returns:
        The merged delta, `[n]` or `[rows, width]`.
    """
    total = tensors.weighted_sum(deltas, [1.0] * len(deltas))
    if statistics is not None:
        return total * (statistics / len(deltas))
    find = ratio_by(average)
    ratios = [find(products) / len(deltas) for products in tensors.row_products(deltas).T.tolist()]
    return total * total.new_tensor(ratios).unsqueeze(1)
