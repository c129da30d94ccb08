"""Distances between whole models, and the point nearest to all of them, from inner products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cuvee.tensors.blocks import BLOCK, Blocks, block_sums

_SLICE = 64 * BLOCK


def apart_blocks(stack: Tensor, start: int) -> Blocks:
    """Block sums of (xᵢ − xⱼ)² in float64 for i < j, `[K(K−1)/2, blocks]`, made slice by slice.

    Args:
        stack: `[K, n]`, a tile.
        start: index in the tensor of the tile's first element, a multiple of `BLOCK`.
    """
    sums = [_apart(stack[:, at : at + _SLICE].double()) for at in range(0, stack.shape[1], _SLICE)]
    return Blocks.at(start, torch.cat(sums, dim=-1))


def _apart(wide: Tensor) -> Tensor:
    apart = (wide[i + 1 :] - wide[i] for i in range(len(wide) - 1))
    return torch.cat([block_sums(difference * difference) for difference in apart])


@dataclass(frozen=True)
class Addends:
    """Rows of numbers whose sums are taken at the end, correctly rounded, so that the order does not matter."""

    rows: tuple[tuple[float, ...], ...]

    def __add__(self, other: Addends) -> Addends:
        """The rows of both together."""
        return Addends(self.rows + other.rows)

    def total(self) -> tuple[float, ...]:
        """The sum of every column."""
        return tuple(_sum(column) for column in zip(*self.rows, strict=True))


def _sum(values: Sequence[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else math.inf


def krum_order(squares: Sequence[float], models: int, wrong: int) -> tuple[int, ...]:
    """The models by Krum's score, the least first; of equal ones the first.

    The score is the sum of the squared distances to the n − f − 2 nearest of the others.

    Args:
        squares: squared distances for i < j, row by row.
        models: n.
        wrong: f.

    Example:
        >>> krum_order([1.0, 100.0, 81.0], models=3, wrong=0)
        (0, 1, 2)
    """
    apart = [[0.0] * models for _ in range(models)]
    pairs = ((i, j) for i in range(models) for j in range(i + 1, models))
    for (i, j), square in zip(pairs, squares, strict=True):
        apart[i][j] = apart[j][i] = square
    others = ([square for j, square in enumerate(row) if j != i] for i, row in enumerate(apart))
    scores = [_sum(sorted(row)[: models - wrong - 2]) for row in others]
    return tuple(sorted(range(models), key=lambda i: (scores[i], i)))


def median_coefficients(
    products: Sequence[float], weights: Sequence[float], eps: float, max_iter: int
) -> tuple[float, ...]:
    """Coefficients of the geometric median of K points, by Weiszfeld's steps from their weighted mean.

    Args:
        products: (xᵢ − x₁)·(xⱼ − x₁) for 1 < i ≤ j, row by row, `K(K−1)/2`.
        weights: of the distances, `K`, above 0.
        eps: distances below count as this; a step that is no longer is the last.
        max_iter: most steps.

    Returns:
        K coefficients that sum to 1; those of the weighted mean where the products are not finite.

    Example:
        >>> [round(c, 3) for c in median_coefficients([1.0, 0.0, 100.0], [1.0, 1.0, 1.0], 1e-9, 1000)]
        [0.999, 0.001, 0.0]
    """
    mix = _shares(weights)
    if not all(map(math.isfinite, products)):
        return mix
    table = _table(products, len(weights))
    for _ in range(max_iter):
        near = (max(_length(table, _less(mix, i)), eps) for i in range(len(mix)))
        following = _shares([weight / distance for weight, distance in zip(weights, near, strict=True)])
        moved = _length(table, [new - old for new, old in zip(following, mix, strict=True)])
        mix = following
        if moved <= eps:
            break
    return mix


def _shares(values: Sequence[float]) -> tuple[float, ...]:
    total = math.fsum(values)
    return tuple(value / total for value in values)


def _less(mix: Sequence[float], i: int) -> list[float]:
    """A combination minus point i."""
    return [c - (j == i) for j, c in enumerate(mix)]


def _table(products: Sequence[float], count: int) -> list[list[float]]:
    """The products as a matrix, `K − 1` by `K − 1`."""
    given = iter(products)
    table = [[0.0] * (count - 1) for _ in range(count - 1)]
    for i in range(count - 1):
        for j in range(i, count - 1):
            table[i][j] = table[j][i] = next(given)
    return table


def _length(table: Sequence[Sequence[float]], mix: Sequence[float]) -> float:
    """‖Σ cᵢ (xᵢ − x₁)‖, which is that of Σ cᵢ xᵢ where the coefficients sum to 0."""
    rest = mix[1:]
    square = math.fsum(a * b * t for a, row in zip(rest, table, strict=True) for b, t in zip(rest, row, strict=True))
    return math.sqrt(max(0.0, square))
