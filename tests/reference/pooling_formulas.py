"""Slow reference formulas of predictions combined: plain floats, one row at a time.

Written from Kittler et al. 1998 (product, maximum, minimum, median), Hinton 2002 (product of experts), Nitzan and
Paroush 1982 (weights of votes), Guo et al. 2017 (temperature), and what `cuvee.combine` says of ties and ranks; never
from the functions under test. `said` holds a list of K numbers for each member that takes part; who is masked is not
there at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]
Said = Sequence[Vector]


def scaled(values: Vector) -> list[float]:
    """Divided by the sum."""
    return [v / math.fsum(values) for v in values]


def weighted_mean(said: Said, weights: Vector) -> list[float]:
    """Σ wᵢpᵢ / Σ wᵢ; all count the same if all weights are zero."""
    if not any(weights):
        weights = [1.0] * len(said)
    return [math.fsum(w * p for w, p in zip(weights, column)) / math.fsum(weights) for column in zip(*said)]


def vote_shares(said: Said, weights: Vector) -> list[float]:
    """Each member's vote goes to its largest entry, in equal parts where several are."""
    votes = []
    for row in said:
        winners = [k for k, p in enumerate(row) if p == max(row)]
        votes.append([1 / len(winners) if k in winners else 0.0 for k in range(len(row))])
    return weighted_mean(votes, weights)


def winner(shares: Vector, preferences: Said) -> int:
    """The class with most votes; of tied ones that which the preferences like most in turn, then the first."""
    left = [k for k in range(len(shares)) if shares[k] >= max(shares) - 1e-12]
    for liking in preferences:
        most = max(liking[k] for k in left)
        left = [k for k in left if liking[k] >= most - 1e-12]
    return left[0]


def product(said: Said, exponent: float | None, prior: Vector | None, floor: float) -> list[float]:
    """Π pᵢ^α / π^(αM − 1), scaled; α = 1/M if none is given."""
    count = len(said)
    power = 1 / count if exponent is None else exponent
    found = []
    for k in range(len(said[0])):
        value = math.prod(max(row[k], floor) ** power for row in said)
        found.append(value if prior is None else value / prior[k] ** (power * count - 1))
    return scaled(found)


def rank(value: float, reference: Vector) -> float:
    """Share of the reference that is below, equals counted half."""
    below = sum(1 for r in reference if r < value)
    equal = sum(1 for r in reference if r == value)
    return (below + equal / 2) / len(reference)


def rank_mean(said: Said, references: Sequence[Said]) -> list[float]:
    """Mean rank of each class, scaled; `references[i][k]` are values of member i and class k."""
    ranks = [[rank(p, of) for p, of in zip(row, known)] for row, known in zip(said, references)]
    mean = weighted_mean(ranks, [1.0] * len(ranks))
    return scaled(mean) if sum(mean) > 0 else [1 / len(mean)] * len(mean)


def median(said: Said) -> list[float]:
    """Middle value of each column; of an even number the mean of two."""
    found = []
    for column in zip(*said):
        ordered, half = sorted(column), len(column) // 2
        found.append(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)
    return found


def trimmed_mean(said: Said, off: int) -> list[float]:
    """Mean of each column without its `off` smallest and largest."""
    return [math.fsum(sorted(c)[off : len(c) - off]) / (len(c) - 2 * off) for c in zip(*said)]


def log_odds_weight(right: int, asked: int, classes: int) -> float:
    """ln of how much likelier a vote makes its class than any other one: a / ((1 − a) / (K − 1))."""
    accuracy = (right + 0.5) / (asked + 1)
    return max(math.log(accuracy / ((1 - accuracy) / (classes - 1))), 0.0)


def tempered(row: Vector, temperature: float) -> list[float]:
    """p^(1/T), scaled."""
    return scaled([max(p, 1e-12) ** (1 / temperature) for p in row])


def log_loss(rows: Said, truth: Sequence[int], temperature: float) -> float:
    """Mean of −ln p of the right class after the temperature."""
    return -math.fsum(math.log(tempered(row, temperature)[y]) for row, y in zip(rows, truth)) / len(rows)


def best_temperature(rows: Said, truth: Sequence[int]) -> float:
    """The least of a fine grid of 1/T in [0.05, 20], then of a finer one around it, three times."""
    low, high = 0.05, 20.0
    for _ in range(8):
        grid = [low + (high - low) * i / 60 for i in range(61)]
        losses = [log_loss(rows, truth, 1 / beta) for beta in grid]
        at = losses.index(min(losses))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, 60)]
    return 2 / (low + high)
