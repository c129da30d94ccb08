"""LARV in plain Python, from the paper's formulas: matrices are lists of rows; only singular values are numpy's."""

from __future__ import annotations

import math

import numpy as np

Matrix = list[list[float]]


def effective_rank(matrix: Matrix) -> float:
    """exp of the entropy of the shares that the squared singular values have in their sum."""
    energies = [float(value) ** 2 for value in np.linalg.svd(np.array(matrix, dtype=np.float64), compute_uv=False)]
    shares = [energy / math.fsum(energies) for energy in energies]
    return math.exp(-math.fsum(share * math.log(share) for share in shares if share > 0))


def times(left: Matrix, right: Matrix) -> Matrix:
    return [[math.fsum(a * b for a, b in zip(row, column)) for column in zip(*right)] for row in left]


def transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix)]


def length(matrix: Matrix) -> float:
    return math.sqrt(math.fsum(x * x for row in matrix for x in row))


def apart(left: Matrix, right: Matrix) -> float:
    """Length of the difference."""
    return length([[a - b for a, b in zip(x, y)] for x, y in zip(left, right)])


def conflict(base: Matrix, delta: Matrix) -> float:
    """Mean of the left and the right commutator, over the product of the lengths."""
    left = apart(times(base, transposed(delta)), times(delta, transposed(base)))
    right = apart(times(transposed(base), delta), times(transposed(delta), base))
    return (left + right) / 2 / (length(base) * length(delta))


def scores(contrasts: list[float], conflicts: list[float], eta: float, rho: float) -> list[float]:
    """Score of each of L layers, none of which is unchanged."""
    count = len(contrasts)
    middle = math.fsum(conflicts) / count
    deviation = math.sqrt(math.fsum((c - middle) ** 2 for c in conflicts) / count)
    found = []
    for layer, (e, c) in enumerate(zip(contrasts, conflicts)):
        z = (c - middle) / deviation if deviation else 0.0
        found.append(e**eta * ((layer + 1) / count) ** rho / (1 + math.log(1 + math.exp(z))))
    return found


def tiers(found: list[float], scales: list[float]) -> list[float]:
    """The factor of each layer: the layers in order of score, cut into as many parts as there are scales."""
    order = sorted(range(len(found)), key=found.__getitem__)
    factors = [0.0] * len(found)
    for place, layer in enumerate(order):
        factors[layer] = scales[place * len(scales) // len(found)]
    return factors


def continuous(found: list[float], gamma: float) -> list[float]:
    return [1 + 0.5 * math.tanh(gamma * (score - 1)) for score in found]


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def pairs(bases: list[Matrix], models: list[list[Matrix]]) -> list[tuple[float, float]]:
    """Contrast and conflict of every layer's one matrix: the mean over the models, `models[i][layer]`."""
    found = []
    for layer, base in enumerate(bases):
        deltas = [[[a - b for a, b in zip(x, y)] for x, y in zip(model[layer], base)] for model in models]
        ranks = [effective_rank(base) / effective_rank(delta) for delta in deltas]
        found.append((mean(ranks), mean([conflict(base, delta) for delta in deltas])))
    return found
