"""Weighted sums over the models of a stack."""

from __future__ import annotations

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


def weighted_sum(stack: Tensor, weights: Tensor) -> Tensor:
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
