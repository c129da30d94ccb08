"""Task analogy: A is to B as C is to the result."""

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
    models=(3, 3),
    formula="y = b + λ (δ_C + (δ_B − δ_A))      the models in the order A, B, C",
    params=(LAMBDA,),
    laws=("copies", "lambda-zero", "tiles", "scale-equivariance", "seed", "finite"),
    cite=(TASK_ARITHMETIC,),
)
def task_analogy(deltas: Tensor, lambda_: float) -> Tensor:
    """Do to C what leads from A to B: for a task without data of its own (section 5 of the paper).

    Args:
        deltas: `[3, n]`, models A, B and C minus base.
        lambda_: scale of the sum.

    Returns:
        The delta of the result, `[n]`.
    """
    of_a, of_b, of_c = deltas
    found: Tensor = (of_c + (of_b - of_a)) * lambda_
    return found
