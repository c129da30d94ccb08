"""Orthogonal matching pursuit in plain Python floats: every step solves its least squares from the beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Vector = Sequence[float]


def dot(a: Vector, b: Vector) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def length(a: Vector) -> float:
    return math.sqrt(dot(a, a))


def least_squares(target: Vector, chosen: Sequence[Vector]) -> list[float]:
    """Weights w of the normal equations (AᵀA) w = Aᵀy, solved exactly in fractions."""
    exact = [[Fraction(x) for x in a] for a in chosen]
    y = [Fraction(x) for x in target]

    def inner(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
        return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))

    table = [[inner(a, b) for b in exact] + [inner(a, y)] for a in exact]
    n = len(table)
    for i in range(n):
        pivot = next(r for r in range(i, n) if table[r][i] != 0)
        table[i], table[pivot] = table[pivot], table[i]
        for r in range(n):
            if r != i and table[r][i] != 0:
                factor = table[r][i] / table[i][i]
                table[r] = [a - factor * b for a, b in zip(table[r], table[i], strict=True)]
    return [float(table[i][n] / table[i][i]) for i in range(n)]


def rest_of(target: Vector, chosen: Sequence[Vector], weights: Sequence[float]) -> list[float]:
    """y − Σ wⱼ aⱼ."""
    return [y - math.fsum(w * a[i] for w, a in zip(weights, chosen, strict=True)) for i, y in enumerate(target)]


def pursue(target: Vector, atoms: Sequence[Vector], k: int) -> tuple[list[int], list[float]]:
    """Numbers of the atoms in the order chosen, and their weights."""
    chosen: list[int] = []
    weights: list[float] = []
    rest = list(target)
    while len(chosen) < min(k, len(atoms), len(target)):
        if length(rest) <= 1e-9 * length(target):
            break
        scores = [-1.0 if i in chosen or length(a) == 0 else abs(dot(rest, a)) / length(a) for i, a in enumerate(atoms)]
        best = max(scores)
        if best <= 1e-9 * length(target):
            break
        chosen.append(next(i for i, score in enumerate(scores) if score >= best * (1 - 1e-9)))
        weights = least_squares(target, [atoms[i] for i in chosen])
        rest = rest_of(target, [atoms[i] for i in chosen], weights)
    return chosen, weights
