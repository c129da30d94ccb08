"""Slow reference formulas of the methods that work with directions: plain floats, one readable loop each.

Written from Shoemake 1985 (SLERP), Model Stock (2403.19522), the definition of the Karcher mean on a sphere, and from
what mergekit 0.1.5 is known to compute, never from the methods under test. A tensor is a flat list of floats; where
rows or columns matter, it is a list of rows. mergekit's absolute thresholds on norms (1e-7 in NuSLERP, 1e-6 in Model
Stock) are left out: here only a vector of zeros has no direction, and its cosine with anything is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

from tests.reference.formulas import Vector, cosine, delta, slerp_coefficients

Rows = Sequence[Vector]

STRAIGHT = 1e-15
"""NuSLERP interpolates along the straight line where 1 − cos² is at most this.

mergekit says 1e-16, less than a double can tell from 0: the cosine of a vector with itself may come out 1 − 1.1e-16.
For parallel vectors the line is the limit of the arc and it does not matter; for opposite ones it does.
"""

BALANCED = 1e-8
"""Model Stock's t is 0 where 1 + (N−1)·cos is no larger than this: there the formula has a pole."""


def combine(weights: Vector, vectors: Rows, n: int) -> list[float]:
    """Σ wᵢvᵢ."""
    return [math.fsum(w * v[i] for w, v in zip(weights, vectors)) for i in range(n)]


def dot(a: Vector, b: Vector) -> float:
    """Inner product."""
    return math.fsum(x * y for x, y in zip(a, b))


def unit(v: Vector, eps: float = 0.0) -> list[float]:
    """v / (‖v‖ + eps); a vector of zeros stays one."""
    length = math.hypot(*v) + eps
    return [x / length for x in v] if length > 0.0 else list(v)


def transpose(rows: Rows) -> list[list[float]]:
    """Columns of a list of rows."""
    return [list(column) for column in zip(*rows)]


def slerp_interpolated_norm(a: Vector, b: Vector, t: float) -> list[float]:
    """SLERP of the unit vectors, times (1−t)‖a‖ + t‖b‖.

    The coefficients are those of `slerp`, so that above its threshold the unit vectors are interpolated along the
    straight line and the result is shorter than the interpolated norm, by less than 1.3e-4 of it.
    """
    left, right = slerp_coefficients(cosine(a, b), t)
    length = (1.0 - t) * math.hypot(*a) + t * math.hypot(*b)
    return [length * (left * x + right * y) for x, y in zip(unit(a), unit(b))]


def nuslerp_share(weights: Vector) -> float:
    """t = w₂/(w₁+w₂); one half where the weights cancel (below 1e-6)."""
    first, second = weights
    return 0.5 if abs(first + second) < 1e-6 else second / (first + second)


def nuslerp_vector(a: Vector, b: Vector, t: float) -> list[float]:
    """(sin((1−t)θ)·a + sin(tθ)·b)/sin θ, θ the angle between a and b; (1−t)·a + t·b where sin θ vanishes."""
    cos = cosine(a, b)
    if 1.0 - cos * cos <= STRAIGHT:
        return [(1.0 - t) * x + t * y for x, y in zip(a, b)]
    angle = math.acos(cos)
    left, right = math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
    return [left * x + right * y for x, y in zip(a, b)]


def nuslerp(models: Rows, weights: Vector, base: Vector | None = None) -> list[float]:
    """The whole tensor as one vector (`nuslerp_flatten`); with a base, the deltas are what is interpolated."""
    origin = [0.0] * len(models[0]) if base is None else base
    change = nuslerp_vector(delta(models[0], origin), delta(models[1], origin), nuslerp_share(weights))
    return [o + c for o, c in zip(origin, change)]


def nuslerp_rows(models: Sequence[Rows], weights: Vector, base: Rows | None = None) -> list[list[float]]:
    """Each row (vector along the last dimension) for itself: mergekit's flatten false, row_wise false."""
    first, second = models
    origins = [None] * len(first) if base is None else base
    return [nuslerp([a, b], weights, origin) for a, b, origin in zip(first, second, origins)]


def nuslerp_columns(models: Sequence[Rows], weights: Vector, base: Rows | None = None) -> list[list[float]]:
    """Each column (vector along dimension 0) for itself: mergekit's flatten false, row_wise true."""
    turned = [transpose(m) for m in models]
    return transpose(nuslerp_rows(turned, weights, None if base is None else transpose(base)))


def multislerp(
    models: Rows, weights: Vector, base: Vector | None = None, normalize_weights: bool = True, eps: float = 1e-8
) -> list[float]:
    """Mean in the tangent space at the normalised mean of the unit vectors, mapped back, times the mean norm.

    uᵢ = xᵢ/(‖xᵢ‖+eps), m = Σ wᵢuᵢ / ‖…‖, τ = Σ wᵢ(uᵢ − (uᵢ·m)m), s = ‖τ‖ + eps,
    y = (m cos s + τ sin s / s)·Σ wᵢ‖xᵢ‖. One step, without the θ/sin θ of the logarithm; and as m points along Σ wᵢuᵢ,
    τ is 0 but for rounding, so that y is the normalised mean direction times the mean norm (times cos eps). Weights
    that sum to zero and more than two directions that cancel are errors. One model is returned as it is.
    """
    if len(models) == 1:
        return list(models[0])
    n = len(models[0])
    origin = [0.0] * n if base is None else base
    vectors = [delta(m, origin) for m in models]
    divisor = math.fsum(weights) if normalize_weights else 1.0
    shares = [w / divisor for w in weights]
    return [o + c for o, c in zip(origin, multislerp_change(vectors, shares, n, eps))]


def multislerp_change(vectors: Rows, shares: Vector, n: int, eps: float) -> list[float]:
    """The formula of `multislerp`, once base and sum of weights are out of the way."""
    units = [unit(v, eps) for v in vectors]
    mean = combine(shares, units, n)
    if math.hypot(*mean) < eps:
        if len(vectors) > 2:
            raise ValueError("the directions cancel")
        return combine(shares, vectors, n)
    pole = unit(mean)
    tangents = [[x - dot(u, pole) * p for x, p in zip(u, pole)] for u in units]
    tangent = combine(shares, tangents, n)
    step = math.hypot(*tangent) + eps
    length = dot(shares, [math.hypot(*v) for v in vectors])
    return [length * (math.cos(step) * p + math.sin(step) / step * t) for p, t in zip(pole, tangent)]


def karcher(models: Rows, weights: Vector | None = None, max_iter: int = 10, tol: float = 1e-5) -> list[float]:
    """Mean on the sphere by Karcher's iteration, times the mean norm.

    αᵢ = wᵢ/Σw (mergekit: 1/n). Vectors of norm ≤ tol have no direction; α is renormalised over the others. From
    u = Σ αᵢuᵢ/‖…‖ (the first unit vector where that sum is shorter than tol), repeat:
    T = Σ αᵢ·(θᵢ/sin θᵢ)·(uᵢ − cos θᵢ·u) over the θᵢ ≥ tol; stop if ‖T‖ < tol; u ← cos‖T‖·u + sin‖T‖·T/‖T‖, normalised.
    The norm is Σ αᵢ‖xᵢ‖ over all models.
    """
    n = len(models[0])
    given = [1.0] * len(models) if weights is None else weights
    shares = [w / math.fsum(given) for w in given]
    norms = [math.hypot(*m) for m in models]
    kept = [i for i, length in enumerate(norms) if length > tol]
    if not kept:
        return [0.0] * n
    total = math.fsum(shares[i] for i in kept)
    units, alphas = [unit(models[i]) for i in kept], [shares[i] / total for i in kept]
    mean = combine(alphas, units, n)
    u = units[0] if math.hypot(*mean) < tol else unit(mean)
    for _ in range(max_iter):
        tangent = karcher_tangent(u, units, alphas, tol)
        step = math.hypot(*tangent)
        if step < tol:
            break
        u = unit([math.cos(step) * x + math.sin(step) * t / step for x, t in zip(u, tangent)])
    length = dot(shares, norms)
    return [length * x for x in u]


def karcher_tangent(u: Vector, units: Rows, alphas: Vector, tol: float) -> list[float]:
    """Σ αᵢ·log_u(uᵢ); directions nearer to u than tol add nothing."""
    logs = []
    for v in units:
        cos = max(-1.0, min(1.0, dot(u, v)))
        angle = math.acos(cos)
        factor = angle / math.sin(angle) if angle >= tol else 0.0
        logs.append([factor * (y - cos * x) for x, y in zip(u, v)])
    return combine(alphas, logs, len(u))


def mean_cosine(deltas: Rows) -> float:
    """Average of the pairwise cosines (mergekit)."""
    pairs = list(combinations(deltas, 2))
    return math.fsum(cosine(a, b) for a, b in pairs) / len(pairs)


def cosine_of_mean_angle(deltas: Rows) -> float:
    """Cosine of the average of the pairwise angles (FusionBench)."""
    pairs = list(combinations(deltas, 2))
    return math.cos(math.fsum(math.acos(cosine(a, b)) for a, b in pairs) / len(pairs))


def model_stock_ratio(cos: float, count: int) -> float:
    """t = N cos/(1 + (N−1) cos) for N models."""
    divisor = 1.0 + (count - 1) * cos
    return 0.0 if abs(divisor) <= BALANCED else count * cos / divisor


def model_stock(models: Rows, base: Vector, angle: Callable[[Rows], float] = mean_cosine) -> list[float]:
    """t·mean(xᵢ) + (1−t)·base for two models or more, t from the angle between the deltas."""
    t = model_stock_ratio(angle([delta(m, base) for m in models]), len(models))
    means = combine([1.0 / len(models)] * len(models), models, len(base))
    return [t * x + (1.0 - t) * b for x, b in zip(means, base)]


def model_stock_angles(models: Rows, base: Vector) -> list[float]:
    """Model Stock with the mean of the angles; for two models the same as `model_stock`."""
    return model_stock(models, base, cosine_of_mean_angle)


def model_stock_rows(
    models: Sequence[Rows], base: Rows, angle: Callable[[Rows], float] = mean_cosine
) -> list[list[float]]:
    """Filter-wise: each row has its own t. A tensor of one dimension is one row."""
    return [model_stock([m[i] for m in models], row, angle) for i, row in enumerate(base)]
