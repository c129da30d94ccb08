"""Task negation: away from a fine-tune, to forget what it learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvee.methods.declare import merge_method
from cuvee.methods.params import LAMBDA
from cuvee.methods.task_arithmetic import TASK_ARITHMETIC

if TYPE_CHECKING:
    from torch import Tensor


@merge_method(
    family="task",
    space="delta",
    scope="element",
    base="required",
    models=(1, 1),
    formula="y = b − λ δ",
    params=(LAMBDA,),
    laws=("lambda-zero", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(TASK_ARITHMETIC,),
)
def task_negation(deltas: Tensor, lambda_: float) -> Tensor:
    """Subtract one task vector from the base (section 3 of the paper).

    Args:
        deltas: `[1, n]`, model minus base.
        lambda_: how far to go.

    Returns:
        The delta of the result, `[n]`.
    """
    return deltas[0] * -lambda_
