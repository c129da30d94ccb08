"""Slow reference formulas of the methods that choose entries by comparing models: plain floats, one readable loop each.

Written from SCE (FuseChat, 2408.07990), MagMax (2407.06322), PCB-Merging (2410.02396), TALL masks and consensus merging
(2405.07813), EMR-Merging (2405.17461), from what mergekit 0.1.5 is known to compute and, where a paper leaves something
open, from what its authors' code is known to compute; never from the methods under test. Tensors are flat lists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.reference.formulas import Vector, add_to, delta

Rows = Sequence[Vector]
Masks = list[list[bool]]


def columns(deltas: Rows) -> list[tuple[float, ...]]:
    """The deltas' values, entry by entry."""
    return list(zip(*deltas))


def variance(values: Vector) -> float:
    """Population variance."""
    mean = math.fsum(values) / len(values)
    return math.fsum((x - mean) ** 2 for x in values) / len(values)


def keep_most_varied(deltas: Rows, topk: float) -> list[list[float]]:
    """Zero all but the k entries of largest variance over the models, k = ⌊topk·(entries of variance ≠ 0)⌋.

    Of equal variances the first position stays. A topk of 1 or more changes nothing, k = 0 leaves nothing.
    """
    if topk >= 1.0:
        return [list(d) for d in deltas]
    spread = [variance(values) for values in columns(deltas)]
    count = int(topk * sum(v != 0.0 for v in spread))
    kept = set(sorted(range(len(spread)), key=lambda i: (-spread[i], i))[:count])
    return [[x if i in kept else 0.0 for i, x in enumerate(d)] for d in deltas]


def sce_weights(deltas: Rows) -> list[float]:
    """ωᵢ ∝ mean of dᵢ²; equal where all are 0. mergekit makes them equal wherever they sum to less than 1e-6."""
    squares = [math.fsum(x * x for x in d) for d in deltas]
    total = math.fsum(squares)
    return [s / total if total > 0.0 else 1.0 / len(deltas) for s in squares]


def sce(base: Vector, models: Rows, topk: float = 1.0) -> list[float]:
    """Select, calculate, erase: base + Σ ωᵢdᵢ/Σ ωᵢ over the models that agree with the sign of Σ dᵢ.

    The weights are those of the selected deltas, before any sign is erased. A sum of zero counts as plus, a delta of
    zero agrees with neither sign, and where none agrees the base stays.
    """
    deltas = keep_most_varied([delta(m, base) for m in models], topk)
    weights = sce_weights(deltas)
    return add_to(base, [sce_entry(values, weights) for values in columns(deltas)], 1.0)


def sce_entry(values: Vector, weights: Vector) -> float:
    """One entry of `sce`."""
    sign = 1.0 if math.fsum(values) >= 0.0 else -1.0
    agree = [i for i, x in enumerate(values) if x * sign > 0.0]
    divisor = math.fsum(weights[i] for i in agree)
    return math.fsum(weights[i] * values[i] for i in agree) / divisor if divisor > 0.0 else 0.0


def magmax(base: Vector, models: Rows, lambda_: float = 1.0) -> list[float]:
    """Per entry the delta of largest magnitude; of equal ones the first model's."""
    deltas = [delta(m, base) for m in models]
    return add_to(base, [max(values, key=abs) for values in columns(deltas)], lambda_)


def between(values: Vector) -> list[float]:
    """(v − min)/(max − min); all 0 where the values are equal (the published code divides 0 by 0)."""
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 0.0 for v in values]


def pcb_scores(deltas: Rows) -> list[list[float]]:
    """How much each entry of each of N models matters: exp(N·minmax(|τᵢ|)²)·tanh(τᵢ ⊙ Σⱼτⱼ).

    The minmax is over the entries of one model. The paper writes softmax(N·Norm(τᵢ⊙τᵢ)) and Σⱼ softmax(Norm(τᵢ⊙τⱼ));
    its code has no softmax, and tanh in the second place. The code also clips 1e-4 of the magnitudes at either end
    first, which is left out here.
    """
    total = [math.fsum(values) for values in columns(deltas)]
    count = len(deltas)
    return [
        [math.exp(count * m**2) * math.tanh(x * s) for m, x, s in zip(between([abs(x) for x in d]), d, total)]
        for d in deltas
    ]


def pcb_weights(scores: Vector, ratio: float) -> list[float]:
    """The published code: scores below the entry at ⌊(1−ratio)·n⌋ of the sorted ones are raised to it, then minmax.

    That entry itself thus weighs 0, and the largest score 1.
    """
    cut = sorted(scores)[min(int((1.0 - ratio) * len(scores)), len(scores) - 1)]
    return between([max(s, cut) for s in scores])


def pcb_masked_weights(scores: Vector, ratio: float) -> list[float]:
    """The paper: scores from that entry on are the weights, all others weigh 0, and so do negative ones."""
    cut = sorted(scores)[min(int((1.0 - ratio) * len(scores)), len(scores) - 1)]
    return [max(s, 0.0) if s >= cut else 0.0 for s in scores]


def weighted_by_entry(deltas: Rows, weights: Rows) -> list[float]:
    """Σ wᵢdᵢ / Σ wᵢ, entry by entry; 0 where the weights sum to 0 (the published code divides by 1e-12 there)."""
    merged = []
    for values, shares in zip(columns(deltas), columns(weights)):
        divisor = math.fsum(shares)
        merged.append(math.fsum(w * x for w, x in zip(shares, values)) / divisor if divisor != 0.0 else 0.0)
    return merged


def pcb(base: Vector, models: Rows, ratio: float = 0.1, lambda_: float = 1.0) -> list[float]:
    """Parameter competition balancing of one tensor, with the weights of the published code."""
    deltas = [delta(m, base) for m in models]
    weights = [pcb_weights(s, ratio) for s in pcb_scores(deltas)]
    return add_to(base, weighted_by_entry(deltas, weights), lambda_)


def pcb_masked(base: Vector, models: Rows, ratio: float = 0.1, lambda_: float = 1.0) -> list[float]:
    """The same with the weights of the paper: the kept scores themselves."""
    deltas = [delta(m, base) for m in models]
    weights = [pcb_masked_weights(s, ratio) for s in pcb_scores(deltas)]
    return add_to(base, weighted_by_entry(deltas, weights), lambda_)


def tall_masks(deltas: Rows, lambdas: Vector) -> Masks:
    """Per task: |τₜ| > λₜ·|τ_MT − τₜ| with τ_MT = Σ τₜ.

    Strict, as in the authors' code: an entry that nobody moved is used by none.
    """
    total = [math.fsum(values) for values in columns(deltas)]
    return [[abs(x) > lam * abs(s - x) for x, s in zip(d, total)] for d, lam in zip(deltas, lambdas)]


def tall_mask(base: Vector, models: Rows, lambdas: Vector, task: int) -> list[float]:
    """One task's model back from the sum of all: base + mₜ ⊙ Σ τ."""
    deltas = [delta(m, base) for m in models]
    mask = tall_masks(deltas, lambdas)[task]
    return add_to(base, [math.fsum(v) if m else 0.0 for v, m in zip(columns(deltas), mask)], 1.0)


def consensus_ta(base: Vector, models: Rows, lambdas: Vector, k: int = 2, alpha: float = 1.0) -> list[float]:
    """Base + α·Σ τ on the entries that at least k tasks use; k = 0 is task arithmetic."""
    deltas = [delta(m, base) for m in models]
    users = [sum(flags) for flags in zip(*tall_masks(deltas, lambdas))]
    return add_to(base, [math.fsum(v) if u >= k else 0.0 for v, u in zip(columns(deltas), users)], alpha)


def emr_unified(deltas: Rows, draw: float = -1.0) -> list[float]:
    """Elect: the sign of Σ τᵢ, times the largest magnitude among the deltas of that sign.

    A sum of zero counts as minus in the authors' code (`draw` −1), as nothing in the paper (sgn 0 = 0: `draw` 0).
    """
    unified = []
    for values in columns(deltas):
        total = math.fsum(values)
        sign = math.copysign(1.0, total) if total != 0.0 else draw
        unified.append(sign * max((abs(x) for x in values if x * sign > 0.0), default=0.0))
    return unified


def emr(deltas: Rows, draw: float = -1.0) -> tuple[list[float], Masks, list[float]]:
    """Elect, mask, rescale: the unified delta, each task's mask τᵢ·τ_u > 0, each task's Σ|τᵢ| / Σ|Mᵢ ⊙ τ_u|.

    For a model of several tensors the lists are all its entries: the sums of the rescaler are over the whole model (the
    authors' code for CLIP adds up the tensors' means instead). A task whose mask is empty has rescaler 0.
    """
    unified = emr_unified(deltas, draw)
    masks = [[x * u > 0.0 for x, u in zip(d, unified)] for d in deltas]
    rescalers = []
    for d, mask in zip(deltas, masks):
        after = math.fsum(abs(u) for u, m in zip(unified, mask) if m)
        rescalers.append(math.fsum(map(abs, d)) / after if after > 0.0 else 0.0)
    return unified, masks, rescalers


def emr_task(base: Vector, models: Rows, task: int, draw: float = -1.0) -> list[float]:
    """One task's model: base + λᵢ·Mᵢ ⊙ τ_u."""
    unified, masks, rescalers = emr([delta(m, base) for m in models], draw)
    return add_to(base, [u if m else 0.0 for u, m in zip(unified, masks[task])], rescalers[task])
