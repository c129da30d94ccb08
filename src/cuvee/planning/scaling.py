"""Layers scaled by their depth or by what they hold: a factor for the delta of each, folded into the steps' λ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Final, TypeAlias

from cuvee.planning.model import Plan, Step
from cuvee.planning.whole import merged_steps
from cuvee.recipe.model import Larv, Lines, Recipe
from cuvee.types import Cite, rows_of

Layer: TypeAlias = tuple[str, int]
"""The stack that a layer is in, and its number."""

_LAMBDA = "lambda_"

_LARGEST: Final = 700.0
"""What `exp` takes."""

_ALIKE: Final = 1e-7
"""Conflicts that differ by less are rounded differently: where two matrices commute, c is 0 to within 1e-8."""

_EIGENVALUES: Final = 4
"""Multiplications of a product that take as long as the eigenvalues of a square matrix, per n³."""

PRODUCTS: Final = 6
"""Square matrices of float64 that are there at a time while a weight is looked at: its products, and eigenvalues'."""
HELD: Final = 4
"""Tensors in the arithmetic's dtype, at most: base, one model's and their difference, and the base as it is on disk."""
WIDENED: Final = 1 << 26
"""Bytes of what is widened at a time: see `tensors.operators`."""


CITED: Final = {
    Lines: Cite(
        "Wang et al. 2024, LiNeS: post-training layer scaling prevents forgetting and enhances model merging",
        arxiv="2410.17146",
    ),
    Larv: Cite(
        "Wang et al. 2026, LARV: data-free layer-wise adaptive rescaling veneer for model merging", arxiv="2602.09413"
    ),
}
"""Whose idea a scaling is."""


def cited(recipe: Recipe) -> Iterator[Cite]:
    """The source of a recipe's layer scaling, if it has one."""
    if recipe.layer_scaling is not None:
        yield CITED[type(recipe.layer_scaling)]


def is_settled(plan: Plan) -> bool:
    """Whether every factor of a plan is known, and so in its steps."""
    scaling = plan.recipe.layer_scaling
    return scaling is None or scaling.is_known


def scaling_notes(recipe: Recipe) -> Iterator[str]:
    """That factors are still to be found, where they are."""
    scaling = recipe.layer_scaling
    if scaling is not None and not scaling.is_known:
        what = "alpha is" if isinstance(scaling, Lines) else "factors are"
        yield f"layer scaling: {what} found from the models before they are merged; lambda is told without it"


def by_depth(steps: Sequence[Step], alpha: float, beta: float) -> tuple[Step, ...]:
    """LiNeS: the steps with their λ times a factor that grows with the depth of their layer.

        factor of layer l of L = α + β l / (L − 1), and α for what belongs to no layer

    Args:
        steps: the steps of a plan.
        alpha: factor of the first layer of every stack, and of what belongs to none.
        beta: what the last layer's factor is larger by.

    Reference:
        Wang et al. 2024, LiNeS: post-training layer scaling prevents forgetting and enhances model merging
        (arXiv:2410.17146).
    """
    heights = _heights(steps)

    def factor(step: Step) -> float:
        if step.layer is None:
            return alpha
        stack, layer = step.layer
        return alpha + beta * layer / max(1, heights[stack] - 1)

    return _scaled(steps, factor)


def by_layer(steps: Sequence[Step], factors: Mapping[Layer, float]) -> tuple[Step, ...]:
    """The steps with their λ times the factor of their layer, which is 1 where there is none."""
    return _scaled(steps, lambda step: 1.0 if step.layer is None else factors.get(step.layer, 1.0))


def _scaled(steps: Sequence[Step], factor: Callable[[Step], float]) -> tuple[Step, ...]:
    return tuple(_times(step, factor(step)) for step in steps)


def _times(step: Step, factor: float) -> Step:
    value = step.settings.get(_LAMBDA)
    if step.action != "merge" or not isinstance(value, int | float):
        return step
    return replace(step, settings={**step.settings, _LAMBDA: value * factor})


def _heights(steps: Sequence[Step]) -> Mapping[str, int]:
    """Layers of every stack of the output."""
    heights: dict[str, int] = {}
    for stack, layer in (step.layer for step in steps if step.layer is not None):
        heights[stack] = max(heights.get(stack, 0), layer + 1)
    return heights


def matrices_of_layers(plan: Plan) -> list[Step]:
    """The merged matrices that belong to layers, which is what LARV looks at."""
    return [step for step in merged_steps(plan.steps) if step.layer is not None and min(rows_of(step.out.shape)) > 1]


def larv(plan: Plan, found: Sequence[tuple[float, float]], scaling: Larv) -> Mapping[Layer, float]:
    """LARV: a factor for every layer from the contrast e and the conflict c of its matrices.

        score of layer l of L = eₗ^η ((l + 1) / L)^ρ / (1 + softplus(zₗ)),   z = (c − mean c) / deviation of c
        tiers:                  the factor of the n-th part of the stack's layers in order of score
        continuous:             factor = 1 + ½ tanh(γ (score − 1))

    A layer's e and c are the means over its matrices, and theirs over the models. Every stack is ranked for itself.
    Equal scores have the same tier; where all are equal, no layer stands out and the factor is 1, as it is for a layer
    in which nothing changed.

    Args:
        plan: the plan.
        found: e and c of each of `matrices_of_layers(plan)`; NaN for one in which nothing changed.
        scaling: what is asked.

    Returns:
        The factors by layer.

    Reference:
        Wang et al. 2026, LARV: data-free layer-wise adaptive rescaling veneer for model merging (arXiv:2602.09413).
    """
    heights = _heights(plan.steps)
    seen: dict[Layer, list[tuple[float, float]]] = {}
    for step, (contrast, conflict) in zip(matrices_of_layers(plan), found, strict=True):
        if step.layer is not None and not math.isnan(contrast):
            seen.setdefault(step.layer, []).append((contrast, conflict))
    means = {layer: (fmean(e for e, _ in pairs), fmean(c for _, c in pairs)) for layer, pairs in seen.items()}
    factors: dict[Layer, float] = {}
    for stack, height in heights.items():
        scores = _scores({layer: pair for layer, pair in sorted(means.items()) if layer[0] == stack}, height, scaling)
        factors |= _factors(scores, scaling)
    return factors


def _scores(means: Mapping[Layer, tuple[float, float]], height: int, scaling: Larv) -> dict[Layer, float]:
    """Score of every layer of a stack."""
    conflicts = [conflict for _, conflict in means.values()]
    middle, deviation = (fmean(conflicts), pstdev(conflicts)) if conflicts else (0.0, 0.0)
    scores = {}
    for layer, (contrast, conflict) in means.items():
        apart = (conflict - middle) / deviation if deviation > _ALIKE else 0.0
        damped = 1.0 + max(apart, 0.0) + math.log1p(math.exp(-abs(apart)))
        power = scaling.eta * math.log(contrast) + scaling.rho * math.log((layer[1] + 1) / height)
        scores[layer] = math.exp(min(power, _LARGEST)) / damped
    return scores


def _factors(scores: Mapping[Layer, float], scaling: Larv) -> dict[Layer, float]:
    if scaling.mapping == "continuous":
        return {layer: 1.0 + 0.5 * math.tanh(scaling.gamma * (score - 1.0)) for layer, score in scores.items()}
    if len(set(scores.values())) < 2:
        return dict.fromkeys(scores, 1.0)
    tiers = len(scaling.scales)
    below = {layer: sum(other < score for other in scores.values()) for layer, score in scores.items()}
    return {layer: scaling.scales[count * tiers // len(scores)] for layer, count in below.items()}


def layer_operations(plan: Plan, step: Step) -> int:
    """Multiplications while a matrix of a layer is looked at: products and eigenvalues, of the base and each model."""
    if not isinstance(plan.recipe.layer_scaling, Larv):
        return 0
    rows, width = rows_of(step.out.shape)
    short = min(rows, width)
    return (2 * len(step.inputs) + 1) * rows * width * short + _EIGENVALUES * (len(step.inputs) + 1) * short**3


def settling_memory(plan: Plan, threads: int) -> int:
    """What finding the factors takes at a time where matrices are looked at whole, in bytes.

    Args:
        plan: the plan.
        threads: workers, each of which looks at a matrix: its base's, one model's, the products of the shorter side.
    """
    if not isinstance(plan.recipe.layer_scaling, Larv):
        return 0
    most = 0
    for step in matrices_of_layers(plan):
        entry, short = 8 if step.work == "float64" else 4, min(rows_of(step.out.shape))
        most = max(most, HELD * entry * step.out.numel + PRODUCTS * 8 * short * short + WIDENED)
    return threads * most
