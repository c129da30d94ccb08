"""Krum: the model that is nearest to most of the others, over the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.job import Job, Round, Survey, sums_held
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Addends, Blocks

KRUM = Cite(
    "Blanchard et al. 2017, Machine learning with adversaries: Byzantine tolerant gradient descent", arxiv="1703.02757"
)
F = Param("f", "int", "how many of the models may be wrong; 2f + 3 of them are needed", default=0, low=0)


def rule(settings: Mapping[str, Any]) -> str | None:
    """So many models may be wrong only among enough that are right."""
    f, models = settings["f"], settings["models"]
    return f"f = {f} needs {2 * f + 3} models at least; found {models}" if models < 2 * f + 3 else None


def survey(_job: Job, done: int, _known: Any) -> Survey | None:
    """One survey for the distances between all pairs of models."""
    return Survey(Round(_apart, _of_tensor), _ordered) if done == 0 else None


def held(numel: int, models: int, _tile: int) -> int:
    """The distances of all pairs, summed block by block."""
    return sums_held(numel, models * (models - 1) // 2)


def _apart(models: Tensor, start: int, _job: Job, _known: Any) -> Blocks:
    return tensors.apart_blocks(models, start)


def _of_tensor(total: Blocks, _job: Job, _known: Any) -> Addends:
    return tensors.Addends((tuple(total.total()),))


def _ordered(total: Addends, job: Job, _known: Any) -> tuple[int, ...]:
    """The models, the one that is nearest to most of the others first."""
    squares = total.total()
    models = (1 + round((1 + 8 * len(squares)) ** 0.5)) // 2
    return tensors.krum_order(squares, models, job.settings["f"])


@merge_method(
    family="robust",
    space="weight",
    scope="model",
    base="input",
    models=(3, None),
    formula="sᵢ = Σ ‖xᵢ − xⱼ‖² over the n − f − 2 models xⱼ nearest to xᵢ, over all tensors\n"
    "y = the model of least s; of equal ones the first",
    params=(F,),
    rule=rule,
    survey=survey,
    holds=held,
    laws=("copies", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(KRUM,),
)
def krum(models: Tensor, whole: tuple[int, ...]) -> Tensor:
    """Choose the model that is nearest to most of the others.

    Args:
        models: `[n, m]`.
        whole: the models in order, the chosen one first.

    Returns:
        `[m]`.
    """
    return models[whole[0]].clone()
