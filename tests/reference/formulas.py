"""Slow reference formulas of the merge methods: plain floats, one list per flattened tensor, one readable loop each.

Written from the papers (Task Arithmetic 2212.04089, TIES 2306.01708, DARE 2311.03099, SLERP by Shoemake 1985) and from
what mergekit is known to compute, never from the methods under test. Sums are exactly rounded (`math.fsum`), so a
formula here is the truth to within a few units in the last place of a double.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]

LERP_ABOVE = 0.9995
"""Above this |cosine|, SLERP interpolates along the straight line."""


def linear(models: Sequence[Vector], weights: Vector, normalize: bool = True) -> list[float]:
    """Σ wᵢxᵢ, divided by Σ wᵢ when normalised."""
    divisor = math.fsum(weights) if normalize else 1.0
    return [math.fsum(w * x for w, x in zip(weights, entries)) / divisor for entries in zip(*models)]


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of the angle between two whole tensors; 0 where one of them has no direction."""
    norm_a, norm_b = math.hypot(*a), math.hypot(*b)
    if norm_a == 0.0 or norm_b == 0.0:
        return 0.0
    dot = math.fsum((x / norm_a) * (y / norm_b) for x, y in zip(a, b))
    return max(-1.0, min(1.0, dot))


def slerp_coefficients(cos: float, t: float) -> tuple[float, float]:
    """What the two tensors are multiplied by."""
    if abs(cos) > LERP_ABOVE:
        return 1.0 - t, t
    angle = math.acos(cos)
    return math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def slerp(a: Vector, b: Vector, t: float) -> list[float]:
    """The angle is that of the unit vectors; the coefficients apply to the tensors as they are."""
    left, right = slerp_coefficients(cosine(a, b), t)
    return [left * x + right * y for x, y in zip(a, b)]


def delta(model: Vector, base: Vector) -> list[float]:
    """Model minus base."""
    return [x - b for x, b in zip(model, base)]


def add_to(base: Vector, change: Vector, lambda_: float) -> list[float]:
    """Base + λ·change."""
    return [b + lambda_ * c for b, c in zip(base, change)]


def sum_deltas(deltas: Sequence[Vector], weights: Vector, normalize: bool, n: int) -> list[float]:
    """Σ wᵢdᵢ over all models; the divisor Σ wᵢ counts as 1 where it vanishes."""
    divisor = math.fsum(weights) if normalize else 1.0
    if abs(divisor) < 1e-8:
        divisor = 1.0
    return [math.fsum(w * d[i] for w, d in zip(weights, deltas)) / divisor for i in range(n)]


def task_arithmetic(
    base: Vector, models: Sequence[Vector], weights: Vector, lambda_: float = 1.0, normalize: bool = False
) -> list[float]:
    """Base + λ Σ wᵢ(xᵢ − base)."""
    deltas = [delta(m, base) for m in models]
    return add_to(base, sum_deltas(deltas, weights, normalize, len(base)), lambda_)


def trim(d: Vector, density: float) -> list[float]:
    """Keep the k = max(1, ⌊density·n⌋) entries of largest magnitude; of equal ones, those that come first."""
    if density >= 1.0 or not d:
        return list(d)
    count = max(1, int(density * len(d)))
    order = sorted(range(len(d)), key=lambda i: (-abs(d[i]), i))
    kept = set(order[:count])
    return [x if i in kept else 0.0 for i, x in enumerate(d)]


def rescale_l1(d: Vector, kept: Vector) -> list[float]:
    """Give the kept entries the sum of magnitudes that the whole delta had."""
    before, after = math.fsum(map(abs, d)), math.fsum(map(abs, kept))
    if after == 0.0:
        return list(kept)
    return [x * before / after for x in kept]


def elect(deltas: Sequence[Vector], weights: Vector, normalize: bool, n: int) -> list[float]:
    """Per entry: the sign of Σ wᵢdᵢ wins (zero counts as plus), and the weighted deltas of that sign are summed.

    A delta of zero agrees with neither sign. When normalised, the sum is divided by the weights that agree, unless
    those come to zero.
    """
    return [elect_entry([w * d[i] for w, d in zip(weights, deltas)], weights, normalize) for i in range(n)]


def elect_entry(votes: Vector, weights: Vector, normalize: bool) -> float:
    """One entry of `elect`; `votes` are the weighted deltas."""
    sign = 1.0 if math.fsum(votes) >= 0.0 else -1.0
    agree = [i for i, v in enumerate(votes) if v * sign > 0.0]
    total = math.fsum(votes[i] for i in agree)
    divisor = math.fsum(weights[i] for i in agree) if normalize else 1.0
    return total / (divisor if divisor != 0.0 else 1.0)


def ties(
    base: Vector,
    models: Sequence[Vector],
    weights: Vector,
    densities: Vector,
    lambda_: float = 1.0,
    normalize: bool = True,
    rescale: bool = False,
) -> list[float]:
    """Trim every delta, elect a sign per entry, add up the deltas that agree."""
    kept = []
    for model, density in zip(models, densities):
        d = delta(model, base)
        trimmed = trim(d, density)
        kept.append(rescale_l1(d, trimmed) if rescale else trimmed)
    return add_to(base, elect(kept, weights, normalize, len(base)), lambda_)


def drop(d: Vector, keep: Sequence[bool], density: float, rescale: bool) -> list[float]:
    """Zero the entries outside the mask; survivors are divided by the kept fraction, DARE's 1/(1−p)."""
    if density >= 1.0:
        return list(d)
    factor = 1.0 / density if rescale else 1.0
    return [x * factor if k else 0.0 for x, k in zip(d, keep)]


def dare_linear(
    base: Vector,
    models: Sequence[Vector],
    weights: Vector,
    densities: Vector,
    keep_masks: Sequence[Sequence[bool]],
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: bool = True,
) -> list[float]:
    """Task arithmetic on randomly thinned deltas, the masks being given."""
    thinned = [drop(delta(m, base), k, p, rescale) for m, k, p in zip(models, keep_masks, densities)]
    return add_to(base, sum_deltas(thinned, weights, normalize, len(base)), lambda_)


def dare_ties(
    base: Vector,
    models: Sequence[Vector],
    weights: Vector,
    densities: Vector,
    keep_masks: Sequence[Sequence[bool]],
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: bool = True,
) -> list[float]:
    """The sign election of TIES on randomly thinned deltas, the masks being given."""
    thinned = [drop(delta(m, base), k, p, rescale) for m, k, p in zip(models, keep_masks, densities)]
    return add_to(base, elect(thinned, weights, normalize, len(base)), lambda_)


def passthrough(model: Vector, scale: float = 1.0) -> list[float]:
    """One model, times a factor."""
    return [scale * x for x in model]
