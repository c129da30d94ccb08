"""Slow reference formulas of dynamic selection: plain floats, one row at a time.

Written from Ko, Sabourin, Britto 2008 (KNORA), Woods, Kegelmeyer, Bowyer 1997 (OLA), Woloszynski et al. 2012 (DES-P)
and the words of `Dynamic` on ties, masks and agreement.
"""

from __future__ import annotations

import math

import numpy as np


def neighbours(x, reference, k):
    """Numbers of the k nearest, nearest first, the earlier of equally near ones."""
    return sorted(range(len(reference)), key=lambda r: (sum((a - b) ** 2 for a, b in zip(x, reference[r])), r))[:k]


def knora_e(hits, present):
    """`hits` `[M][k]`. The paper: K is made smaller until some member is right on all K."""
    for j in range(len(hits[0]), 0, -1):
        chosen = [all(row[:j]) and here for row, here in zip(hits, present)]
        if any(chosen):
            return [float(one) for one in chosen]
    return [float(here) for here in present]


def knora_u(hits, present):
    votes = [float(sum(row)) if here else 0.0 for row, here in zip(hits, present)]
    return votes if any(votes) else [float(here) for here in present]


def ola(hits, present):
    best = max(sum(row) for row, here in zip(hits, present) if here)
    return [float(sum(row) == best and here) for row, here in zip(hits, present)]


def des_p(hits, present, classes):
    better = [sum(row) / len(row) - 1 / classes > 1e-12 and here for row, here in zip(hits, present)]
    return [float(one) for one in (better if any(better) else present)]


def rule_of(name, hits, present, classes):
    return des_p(hits, present, classes) if name == "des-p" else globals()[name.replace("-", "_")](hits, present)


def named(row):
    return row.index(max(row))


def answer(name, k, bank, places, at):
    """What a dynamic selection fitted on the bank says of the rows `at` of the bank itself; `places` `[N][D]`."""
    P, mask, truth = bank.P.tolist(), bank.mask.tolist(), bank.truth.tolist()
    members, classes = range(len(P)), len(P[0][0])
    out = []
    for n in at:
        present = [mask[m][n] for m in members]
        if len({named(P[m][n]) for m in members if present[m]}) == 1:
            weights = [float(here) for here in present]
        else:
            near = neighbours(places[n], places, k)
            hits = [[mask[m][r] and named(P[m][r]) == truth[r] for r in near] for m in members]
            weights = rule_of(name, hits, present, classes)
        total = math.fsum(weights)
        out.append([math.fsum(w * P[m][n][c] for m, w in enumerate(weights) if w) / total for c in range(classes)])
    return np.array(out)
