"""Slow reference formulas of robust averages, of walks from the base and of layer factors: plain floats.

Written from Weiszfeld 1937, Yin et al. 2018 (1803.01498: median, trimmed mean), Blanchard et al. 2017 (1703.02757:
Krum), WiSE-FT (2109.01903), ExPO (2404.16792), Task Arithmetic (2212.04089) and LiNeS (2410.17146), never from the
methods under test. A model is one flat list: one tensor where the method works by tensor, all its tensors for Krum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.reference.formulas import Vector, add_to, delta

Rows = Sequence[Vector]


def distance(a: Vector, b: Vector) -> float:
    """Euclidean."""
    return math.hypot(*(x - y for x, y in zip(a, b)))


def weighted_mean(models: Rows, weights: Vector) -> list[float]:
    """Σ wᵢxᵢ / Σ wᵢ."""
    total = math.fsum(weights)
    return [math.fsum(w * x for w, x in zip(weights, values)) / total for values in zip(*models)]


def geometric_median(
    models: Rows, weights: Vector | None = None, eps: float = 1e-6, max_iter: int = 100
) -> list[float]:
    """The point with the least Σ wᵢ‖x − xᵢ‖, by Weiszfeld's iteration from the (weighted) mean.

    x ← Σ(wᵢxᵢ/dᵢ) / Σ(wᵢ/dᵢ) with dᵢ = max(‖x − xᵢ‖, eps), at most max_iter times, until x moves by no more than eps.
    """
    shares = [1.0] * len(models) if weights is None else weights
    x = weighted_mean(models, shares)
    for _ in range(max_iter):
        new = weighted_mean(models, [w / max(distance(x, m), eps) for w, m in zip(shares, models)])
        moved, x = distance(new, x), new
        if moved <= eps:
            break
    return x


def median(models: Rows) -> list[float]:
    """Entry by entry the middle value; of an even number the mean of the two in the middle."""
    merged = []
    for values in zip(*models):
        ordered, half = sorted(values), len(values) // 2
        merged.append(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2.0)
    return merged


def trimmed_mean(models: Rows, beta: float) -> list[float]:
    """Entry by entry the mean without the ⌊beta·n⌋ smallest and the ⌊beta·n⌋ largest values; beta in [0, ½)."""
    cut, n = int(beta * len(models)), len(models)
    return [math.fsum(sorted(values)[cut : n - cut]) / (n - 2 * cut) for values in zip(*models)]


def krum_scores(models: Rows, f: int) -> list[float]:
    """Σ of the squared distances to the n − f − 2 nearest other models; needs n ≥ f + 3."""
    nearest = len(models) - f - 2
    scores = []
    for i, model in enumerate(models):
        squares = sorted(distance(model, other) ** 2 for j, other in enumerate(models) if j != i)
        scores.append(math.fsum(squares[:nearest]))
    return scores


def krum_order(models: Rows, f: int) -> list[int]:
    """Models by score, the lowest first; of equal ones the first."""
    scores = krum_scores(models, f)
    return sorted(range(len(models)), key=lambda i: (scores[i], i))


def krum(models: Rows, f: int) -> list[float]:
    """The model of lowest score."""
    return list(models[krum_order(models, f)[0]])


def multi_krum(models: Rows, f: int, m: int) -> list[float]:
    """Mean of the m models of lowest score, all scored once."""
    return weighted_mean([models[i] for i in krum_order(models, f)[:m]], [1.0] * m)


def wise_ft(base: Vector, model: Vector, alpha: float) -> list[float]:
    """(1−α)·base + α·model."""
    return [(1.0 - alpha) * b + alpha * x for b, x in zip(base, model)]


def expo(base: Vector, model: Vector, alpha: float) -> list[float]:
    """Model + α·(model − base): on along the way that training went."""
    return add_to(model, delta(model, base), alpha)


def task_analogy(base: Vector, a: Vector, b: Vector, c: Vector, lambda_: float = 1.0) -> list[float]:
    """A is to B as C is to …: base + λ·(τ_C + τ_B − τ_A)."""
    taus = zip(delta(a, base), delta(b, base), delta(c, base))
    return add_to(base, [tau_c + (tau_b - tau_a) for tau_a, tau_b, tau_c in taus], lambda_)


def task_negation(base: Vector, model: Vector, lambda_: float = 1.0) -> list[float]:
    """Base − λ·τ."""
    return add_to(base, delta(model, base), -lambda_)


def lines_factors(layers: int, alpha: float, beta: float) -> list[float]:
    """Factor of each layer's delta: α + β·l/(L−1) for l = 0 … L−1; α where there is one layer only.

    What belongs to no layer (embeddings, final norm, head) gets α in the authors' code.
    """
    return [alpha + beta * layer / max(1, layers - 1) for layer in range(layers)]


def lines_alpha(deltas: Rows, merged: Vector) -> float:
    """α = ‖Σ τᵢ‖₁ / ‖τ_merged‖₁ / N over the whole model, as the authors' code has it; 1/N for task arithmetic."""
    summed = math.fsum(abs(math.fsum(values)) for values in zip(*deltas))
    return summed / math.fsum(map(abs, merged)) / len(deltas)


def lines(base: Rows, merged: Rows, alpha: float, beta: float) -> list[list[float]]:
    """Base + factor·(merged − base), one list per layer."""
    factors = lines_factors(len(base), alpha, beta)
    return [add_to(b, delta(m, b), factor) for b, m, factor in zip(base, merged, factors)]
