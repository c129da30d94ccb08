"""Means on a sphere, worked out from the inner products of K vectors: each is a combination of the vectors themselves.

Everything here is arithmetic on a few Python numbers, so that a tensor of any size is passed over once for the inner
products and once for the combination, and iterations cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

CANCELLED: Final = 1e-6
"""Directions whose mean is shorter than this, of at most 1, cancel: what is left of them are roundings of float32."""
_STRAIGHT: Final = 1e-12
"""Below this 1 − cos² two directions count as the same, or as opposite."""

Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class Directions:
    """K vectors as lengths and angles.

    Attributes:
        norms: their lengths, `K`.
        cosines: cosines of the angles between them, `K` by `K`; 0 beside a vector of length 0, to itself too.
    """

    norms: tuple[float, ...]
    cosines: tuple[tuple[float, ...], ...]

    def length(self, mix: Sequence[float]) -> float:
        """‖Σ mᵢ uᵢ‖ of the unit vectors uᵢ."""
        return math.sqrt(max(0.0, math.fsum(m * d for m, d in zip(mix, self.along(mix), strict=True))))

    def along(self, mix: Sequence[float]) -> list[float]:
        """The products of Σ mᵢ uᵢ with every unit vector."""
        return [math.fsum(m * c for m, c in zip(mix, row, strict=True)) for row in self.cosines]

    def unit(self, mix: Sequence[float]) -> list[float]:
        """A combination of the unit vectors, scaled to length 1."""
        length = self.length(mix)
        return [m / length for m in mix]


def directions_of(products: Sequence[float]) -> Directions | None:
    """Lengths and angles from inner products; `None` where they are not finite, for infinities have no angle.

    Args:
        products: xᵢ·xⱼ for i ≤ j, row by row, `K(K+1)/2`.

    Example:
        >>> directions_of([4.0, 3.0, 9.0]).cosines
        ((1.0, 0.5), (0.5, 1.0))
    """
    if not all(map(math.isfinite, products)):
        return None
    count = (math.isqrt(8 * len(products) + 1) - 1) // 2
    rows = iter(products)
    upper = [[next(rows) for _ in range(i, count)] for i in range(count)]
    norms = tuple(math.sqrt(row[0]) for row in upper)

    def cosine(i: int, j: int) -> float:
        if i == j or not norms[i] * norms[j] > 0:
            return float(i == j and norms[i] > 0)
        product = upper[min(i, j)][abs(i - j)]
        return max(-1.0, min(1.0, product / norms[i] / norms[j]))

    return Directions(norms, tuple(tuple(cosine(i, j) for j in range(count)) for i in range(count)))


def multislerp_coefficients(products: Sequence[float], weights: Sequence[float]) -> Coefficients:
    """Coefficients of the vectors in m/‖m‖ · Σ wᵢ‖xᵢ‖ with m = Σ wᵢ xᵢ/‖xᵢ‖; the weights where the directions cancel.

    Args:
        products: xᵢ·xⱼ for i ≤ j, row by row.
        weights: one per vector.
    """
    found = directions_of(products)
    if found is None or _cancels(found, weights):
        return tuple(weights)
    return _of_length(found, found.unit(weights), weights)


def karcher_coefficients(
    products: Sequence[float], weights: Sequence[float], max_iter: int, tol: float
) -> Coefficients:
    """Coefficients of the vectors in their Karcher mean: the direction of least squared angles, of the mean length.

    Args:
        products: xᵢ·xⱼ for i ≤ j, row by row.
        weights: one per vector, not negative, not all 0; the weights that sum to 1 are returned where the directions
            cancel, so that no direction is nearer to them than others.
        max_iter: steps at most.
        tol: length of a step that is not taken any more, in radians.
    """
    total = math.fsum(weights)
    shares = tuple(w / total for w in weights)
    found = directions_of(products)
    if found is None or _cancels(found, shares):
        return shares
    turning = [a * found.cosines[i][i] for i, a in enumerate(shares)]  # vectors of length 0 have no direction
    turning = [a / math.fsum(turning) for a in turning]
    place = found.unit(turning)
    for _ in range(max_iter):
        step = _towards(found, place, turning)
        size = found.length(step)
        if size <= tol:
            break
        place = found.unit([math.cos(size) * p + math.sin(size) / size * s for p, s in zip(place, step, strict=True)])
    return _of_length(found, place, shares)


def _towards(found: Directions, place: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Σ wᵢ θᵢ/sin θᵢ (uᵢ − cos θᵢ p), θᵢ the angle between the unit vectors uᵢ and p: the mean of the logarithms."""
    cosines = found.along(place)
    pulls = [w * _stretch(c) for w, c in zip(weights, cosines, strict=True)]
    back = math.fsum(pull * c for pull, c in zip(pulls, cosines, strict=True))
    return [pull - back * p for pull, p in zip(pulls, place, strict=True)]


def _stretch(cosine: float) -> float:
    """θ/sin θ; 1 at the place itself, and 0 on its far side, from where every way is as short."""
    if 1.0 - cosine * cosine <= _STRAIGHT:
        return float(cosine > 0)
    return math.acos(cosine) / math.sqrt(1.0 - cosine * cosine)


def _cancels(found: Directions, weights: Sequence[float]) -> bool:
    total = math.fsum(abs(w) * row[i] for i, (w, row) in enumerate(zip(weights, found.cosines, strict=True)))
    return found.length(weights) <= CANCELLED * total


def _of_length(found: Directions, mix: Sequence[float], weights: Sequence[float]) -> Coefficients:
    """The combination of unit vectors given the length Σ wᵢ‖xᵢ‖, in terms of the vectors."""
    length = math.fsum(w * n for w, n in zip(weights, found.norms, strict=True))
    return tuple(m * (length / n) if n > 0 else 0.0 for m, n in zip(mix, found.norms, strict=True))


def stock_ratio(products: Sequence[float]) -> float:
    """Model Stock's t = N c / (1 + (N−1) c), c the mean cosine between N deltas; 0 where the deltas sum to nothing.

    Args:
        products: δᵢ·δⱼ for i ≤ j, row by row, N ≥ 2.
    """
    return _ratio(products, _mean)


def stock_ratio_of_angles(products: Sequence[float]) -> float:
    """The same with the cosine of the mean angle for c."""
    return _ratio(products, lambda cosines: math.cos(_mean([math.acos(c) for c in cosines])))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _ratio(products: Sequence[float], average: Callable[[Sequence[float]], float]) -> float:
    found = directions_of(products)
    if found is None:
        return 1.0
    count = len(found.norms)
    mean = average([found.cosines[i][j] for i in range(count) for j in range(i)])
    rest = 1.0 + (count - 1) * mean
    return count * mean / rest if rest > CANCELLED else 0.0


def arc_coefficients(products: Sequence[float], t: float) -> tuple[float, float]:
    """Coefficients of two vectors a part t of the arc from the first to the second; linear where sin θ ≤ 1e-6.

    Args:
        products: a·a, a·b and b·b.
        t: any number; 0 is a, 1 is b.
    """
    found = directions_of(products)
    cosine = 1.0 if found is None else found.cosines[0][1]
    if 1.0 - cosine * cosine <= _STRAIGHT:
        return 1.0 - t, t
    theta = math.acos(cosine)
    return math.sin((1.0 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)
