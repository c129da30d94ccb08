"""Slow reference formulas of greedy selection: plain floats, every mean worked out anew.

Written from Caruana et al. 2004, section 2, and from the words of `combine.greedy_selection` on ties and masks, never
from its code. Predictions are nested lists `[M][N][K]`, masks `[M][N]`.
"""

from __future__ import annotations

import itertools
import math


def mean_of(P, mask, picks):
    """The mean over picks that take part, row by row; over all who take part where none does."""
    rows = []
    for n in range(len(P[0])):
        part = [m for m in picks if mask[m][n]] or [m for m in range(len(P)) if mask[m][n]]
        rows.append([math.fsum(P[m][n][k] for m in part) / len(part) for k in range(len(P[0][0]))])
    return rows


def log_loss(rows, truth):
    return math.fsum(-math.log(min(max(row[y], 2**-52), 1 - 2**-52)) for row, y in zip(rows, truth)) / len(rows)


def rmse(rows, truth):
    return math.sqrt(math.fsum((row[0] - y) ** 2 for row, y in zip(rows, truth)) / len(rows))


def errors(rows, truth):
    """Share of rows whose most probable class, the first of equal ones, is wrong."""
    return sum(row.index(max(row)) != y for row, y in zip(rows, truth)) / len(rows) - 1


def rounded(x, digits):
    return float(f"{x:.{digits - 1}e}")


def greedy(P, mask, loss, rounds, costs=None, among=None, digits=6):
    """Picks that are kept, and the loss after each."""
    able = list(range(len(P))) if among is None else list(among)
    picks, losses = [], []

    def rank(m):
        return rounded(loss(mean_of(P, mask, [*picks, m])), digits), m not in picks, costs[m] if costs else 0, m

    def take(m):
        losses.append(rank(m)[0])
        picks.append(m)

    for _ in range(rounds):
        take(min(able, key=rank))
    kept = losses.index(min(losses)) + 1
    del picks[kept:], losses[kept:]
    while True:
        open_rows = [n for n in range(len(P[0])) if not any(mask[m][n] for m in picks)]
        wanted = [m for m in able if any(mask[m][n] for n in open_rows)]
        if not wanted:
            return picks, losses
        take(min(wanted, key=rank))


def within(P, mask, loss, rounds, costs, budget, digits=6):
    """The least loss of a greedy selection on any set whose members cost no more than the budget together."""
    best = math.inf
    for size in range(1, len(P) + 1):
        for one in itertools.combinations(range(len(P)), size):
            if sum(costs[m] for m in one) <= budget:
                best = min(best, greedy(P, mask, loss, rounds, costs, one, digits)[1][-1])
    return best
