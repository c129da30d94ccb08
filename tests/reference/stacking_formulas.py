"""Slow reference formulas of what a stack reads and answers: plain floats, row by row.

Written from the words of `combine.stacking` and of `Design`, and from Wolpert 1992 and Ting and Witten 1999.
"""

from __future__ import annotations

import math


def spoken_for(P, mask, m, n, among):
    """What member m says of row n, or the mean of what those `among` say who take part; `None` if there is nobody."""
    if mask[m][n]:
        return P[m][n]
    others = [P[o][n] for o in among if mask[o][n]]
    return [math.fsum(column) / len(others) for column in zip(*others)] if others else None


def columns(P, mask, probable, logits=False):
    """Of those that say probabilities all classes but the first, or ln(p_k / p_1); then all of those that do not."""
    sure, unsure = [m for m, p in enumerate(probable) if p], [m for m, p in enumerate(probable) if not p]
    table = []
    for n in range(len(P[0])):
        row = []
        for m in sure:
            said = spoken_for(P, mask, m, n, sure)
            if said is None:
                row += [None] * (len(P[0][0]) - 1)
            elif logits:
                row += [math.log(max(p, 1e-6)) - math.log(max(said[0], 1e-6)) for p in said[1:]]
            else:
                row += said[1:]
        for m in unsure:
            row += P[m][n] if mask[m][n] else [None] * len(P[0][0])
        table.append(row)
    return table


def standardised(table, even):
    """Columns less their mean, over their deviation unless they are `even`; what is unknown is 0."""
    out = [[0.0] * len(table[0]) for _ in table]
    for d in range(len(table[0])):
        known = [row[d] for row in table if row[d] is not None]
        mean = math.fsum(known) / len(known)
        spread = 1.0 if even[d] else math.sqrt(math.fsum((x - mean) ** 2 for x in known) / len(known))
        for n, row in enumerate(table):
            out[n][d] = 0.0 if row[d] is None else (row[d] - mean) / spread
    return out


def softmax_of(row, coef, intercept):
    z = [b + math.fsum(w * x for w, x in zip(weights, row)) for weights, b in zip(coef, intercept)]
    e = [math.exp(one - max(z)) for one in z]
    return [one / math.fsum(e) for one in e]
