"""Weighted sums over the models of a stack."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def per_model(values: Tensor, stack: Tensor) -> Tensor:
    """One value per model, `[K]`, shaped to multiply a stack `[K, n]`."""
    return values.view(-1, *([1] * (stack.dim() - 1)))


def total_weight(weights: Tensor) -> Tensor:
    """Σ wᵢ, a tensor of no dimensions on the device of `weights`.

    Summed on the CPU wherever they are, because a GPU adds in another order. The result goes back there as a tensor:
    what divides on CUDA by a number of Python or of the CPU multiplies by its reciprocal, which rounds otherwise.
    """
    return weights.cpu().sum().to(weights.device)


def weighted_sum(stack: Tensor, weights: Tensor | Sequence[float]) -> Tensor:
    """Σ wᵢ xᵢ over the models, one model after the other.

    Written as a chain of multiply and add on purpose: a reduction kernel may choose its order of summation by the size
    of the tensor, and then tiles would not give the bytes of the whole.

    Args:
        stack: `[K, n]`.
        weights: `[K]`, or `[K, n]` where each entry has its own.

    Returns:
        `[n]`; zeros for no models.
    """
    if not len(stack):
        return stack.new_zeros(stack.shape[1:])
    total = stack[0] * weights[0]
    for i in range(1, len(stack)):
        total = total + stack[i] * weights[i]
    return total


def mean_of(stack: Tensor) -> Tensor:
    """Σ xᵢ / K over the models, one model after the other.

    Divided by a tensor: what divides on CUDA by a number of Python multiplies by its reciprocal.

    Args:
        stack: `[K, n]`, one model at least.

    Returns:
        `[n]`.
    """
    return weighted_sum(stack, stack.new_ones(len(stack))) / stack.new_tensor(len(stack))


def less_base(stack: Tensor, models: int) -> Tensor:
    """The models of a stack minus the base where one stands before them, as they are where none does, `[K, n]`.

    Args:
        stack: `[K, n]`, or `[1 + K, n]` with the base first.
        models: K.
    """
    return stack if len(stack) == models else stack[1:] - stack[0]


def combine_from_base(stack: Tensor, coefficients: Tensor | Sequence[float]) -> Tensor:
    """Σ cᵢ xᵢ; b + Σ cᵢ (xᵢ − b) where the base stands before the models.

    Args:
        stack: `[K, n]`, or `[1 + K, n]` with the base first.
        coefficients: K numbers, or `[K, …]` where entries have their own.

    Returns:
        `[n]`.
    """
    total = weighted_sum(less_base(stack, len(coefficients)), coefficients)
    return total if len(stack) == len(coefficients) else stack[0] + total
