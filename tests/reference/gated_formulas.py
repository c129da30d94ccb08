"""Slow reference formulas of the methods that copy some entries and not others: plain floats, one readable loop each.

Written from what mergekit 0.1.5 is known to compute (nearswap, arcee_fusion, ram, ramplus_tl), never from the methods
under test; without its float32 arithmetic, its random sample of the importances and its rounding to the input's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.reference.formulas import Vector, delta

Rows = Sequence[Vector]


def nearswap(base: Vector, model: Vector, t: float) -> list[float]:
    """ω·x + (1−ω)·b with ω = t/|b − x|, between 0 and 1; |b − x| counts as at least 1e-6."""
    shares = [max(0.0, min(1.0, t / max(abs(b - x), 1e-6))) for b, x in zip(base, model)]
    return [w * x + (1.0 - w) * b for w, x, b in zip(shares, model, base)]


def softmax(row: Vector) -> list[float]:
    """Exp of the entries over their sum."""
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    total = math.fsum(powers)
    return [p / total for p in powers]


def divergence(model: Vector, base: Vector, eps: float = 1e-8) -> float:
    """Σ p·log(p/q) of one row, p and q the softmax of model and base, each plus eps."""
    pairs = zip(softmax(model), softmax(base))
    return math.fsum((p + eps) * math.log((p + eps) / (q + eps)) for p, q in pairs)


def importances(base: Rows, model: Rows, eps: float = 1e-8) -> list[list[float]]:
    """|x − b| times the divergence of the entry's row."""
    return [[abs(d) * divergence(x, b, eps) for d in delta(x, b)] for x, b in zip(model, base)]


def quantile(values: Vector, q: float) -> float:
    """The entry at ⌊q·(n−1)⌋ of the sorted ones; nothing is interpolated."""
    return sorted(values)[int(q * (len(values) - 1))]


def fusion_threshold(values: Vector) -> float:
    """Median + 1.5·(third quartile − first quartile)."""
    return quantile(values, 0.5) + 1.5 * (quantile(values, 0.75) - quantile(values, 0.25))


def arcee_fusion(base: Rows, model: Rows, eps: float = 1e-8) -> list[list[float]]:
    """The model's entry where its importance reaches the threshold of the whole tensor, elsewhere the base's.

    Rows are vectors along the last dimension; a tensor of one dimension is one row.
    """
    scores = importances(base, model, eps)
    threshold = fusion_threshold([s for row in scores for s in row])
    return [[x if s >= threshold else b for x, b, s in zip(*lists)] for lists in zip(model, base, scores)]


def active_in(deltas: Rows, epsilon: float) -> list[list[bool]]:
    """Per model, which entries moved by more than epsilon."""
    return [[abs(x) > epsilon for x in d] for d in deltas]


def ram_merge(base: Vector, deltas: Rows, factors: Vector, epsilon: float) -> list[float]:
    """Entries moved by one model get its delta times its factor, by several the mean of theirs, by none the base's."""
    active = active_in(deltas, epsilon)
    merged = []
    for i, b in enumerate(base):
        movers = [m for m, flags in enumerate(active) if flags[i]]
        if len(movers) == 1:
            merged.append(b + factors[movers[0]] * deltas[movers[0]][i])
        else:
            merged.append(b + math.fsum(deltas[m][i] for m in movers) / max(1, len(movers)))
    return merged


def ram(base: Vector, models: Rows, epsilon: float = 1e-5) -> list[float]:
    """Keep what one model moved, average what several did."""
    return ram_merge(base, [delta(m, base) for m in models], [1.0] * len(models), epsilon)


def ramplus_factors(deltas: Rows, r: float, alpha: float, epsilon: float) -> list[float]:
    """λᵢ = 1 + r·min(ρᵢ, alpha), ρᵢ = entries of i that others moved too / max(entries of i alone, epsilon)."""
    active = active_in(deltas, epsilon)
    movers = [sum(flags) for flags in zip(*active)]
    factors = []
    for flags in active:
        shared = sum(flag and count > 1 for flag, count in zip(flags, movers))
        alone = sum(flag and count == 1 for flag, count in zip(flags, movers))
        factors.append(1.0 + r * min(max(shared / max(alone, epsilon), 0.0), alpha))
    return factors


def ramplus_tl(base: Vector, models: Rows, r: float = 0.1, alpha: float = 0.2, epsilon: float = 1e-5) -> list[float]:
    """RAM with what one model moved alone scaled up, the more of its entries it shares; ρ is per tensor."""
    deltas = [delta(m, base) for m in models]
    return ram_merge(base, deltas, ramplus_factors(deltas, r, alpha, epsilon), epsilon)


def passthrough(model: Vector, scale: float | None = None) -> list[float]:
    """One model, times a factor if there is one."""
    return list(model) if scale is None else [scale * x for x in model]
