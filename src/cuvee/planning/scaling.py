"""LiNeS: the merged delta of every layer times a factor that grows with its depth, folded into the steps' λ.

    factor of layer l of L = α + β l / (L − 1), and α for what belongs to no layer

Wang et al. 2024, LiNeS: post-training layer scaling prevents forgetting and enhances model merging (arXiv:2410.17146).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cuvee.planning.model import Plan, Step
from cuvee.recipe.model import Recipe

_LAMBDA = "lambda_"


def is_settled(plan: Plan) -> bool:
    """Whether every factor of a plan is known, and so in its steps."""
    scaling = plan.recipe.layer_scaling
    return scaling is None or scaling.alpha is not None


def scaling_notes(recipe: Recipe) -> Iterator[str]:
    """That factors are still to be found, where they are."""
    scaling = recipe.layer_scaling
    if scaling is not None and scaling.alpha is None:
        yield "layer scaling: alpha is found from the models before they are merged; lambda is told without it"


def scaled(steps: Sequence[Step], alpha: float, beta: float) -> tuple[Step, ...]:
    """The steps with their λ times their layer's factor.

    Args:
        steps: the steps of a plan.
        alpha: factor of the first layer of every stack, and of what belongs to none.
        beta: what the last layer's factor is larger by.
    """
    heights = _heights(steps)
    return tuple(_times(step, alpha + beta * _depth(step, heights)) for step in steps)


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


def _depth(step: Step, heights: Mapping[str, int]) -> float:
    """0 for the first layer and outside the layers, 1 for the last."""
    if step.layer is None:
        return 0.0
    stack, layer = step.layer
    return layer / max(1, heights[stack] - 1)
