"""Slow reference formulas of cascades: plain floats, one row at a time, every threshold tried.

Written from the words of `combine.cascade` and `Cascade`: nobody's code was looked at.
"""

from __future__ import annotations

import itertools
import math


def confidence(row, how):
    if how == "top":
        return max(row)
    if how == "margin":
        first, second = sorted(row, reverse=True)[:2]
        return first - second
    return 1 + sum(p * math.log(p) for p in row if p > 0) / math.log(len(row))


def who(P, mask, taus, how, n):
    """Number of the member that answers row n, and numbers of those asked."""
    asked = []
    for m in range(len(P)):
        if not mask[m][n]:
            continue
        asked.append(m)
        if m < len(taus) and confidence(P[m][n], how) >= taus[m]:
            break
    return asked[-1], asked


def worth(P, mask, taus, how, truth, costs):
    """Mean log loss and mean cost."""
    loss = cost = 0.0
    for n in range(len(truth)):
        m, asked = who(P, mask, taus, how, n)
        loss -= math.log(min(max(P[m][n][truth[n]], 2**-52), 1 - 2**-52))
        cost += sum(costs[a] for a in asked)
    return loss / len(truth), cost / len(truth)


def candidates(P, mask, how, m):
    return [confidence(P[m][n], how) for n in range(len(P[m])) if mask[m][n]] + [math.inf]


def best(P, mask, how, truth, costs, limited, limit, shared=False):
    """The least of what is not limited, over every threshold, or every combination of them."""
    axes = [candidates(P, mask, how, m) for m in range(len(P) - 1)]
    combos = [[t] * len(axes) for t in itertools.chain(*axes)] if shared else itertools.product(*axes)
    found = []
    for taus in combos:
        loss, cost = worth(P, mask, taus, how, truth, costs)
        kept, small = (cost, loss) if limited == "cost" else (loss, cost)
        if kept <= limit + 1e-9:
            found.append(small)
    return min(found, default=math.inf)
