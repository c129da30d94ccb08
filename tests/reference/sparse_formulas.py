"""Slow reference formulas of the methods that thin the deltas: plain floats, one readable loop each.

Written from Model Breadcrumbs (2312.06795), DELLA (2406.11617), DARE (2311.03099), TIES (2306.01708) and from what
mergekit 0.1.5 and PEFT are known to compute, never from the methods under test. Random masks are computed from uniform
draws that are given. Of equal magnitudes the first ones count as the larger, as in `formulas.trim`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.reference.formulas import Vector, add_to, delta, drop, elect, rescale_l1, sum_deltas

Rows = Sequence[Vector]


def descending(d: Vector) -> list[int]:
    """Positions by magnitude, the largest first; of equal ones the first position first."""
    return sorted(range(len(d)), key=lambda i: (-abs(d[i]), i))


def keep_at(d: Vector, positions: Sequence[int]) -> list[float]:
    """Zero everywhere else."""
    chosen = set(positions)
    return [x if i in chosen else 0.0 for i, x in enumerate(d)]


def trim_outliers(d: Vector, density: float, gamma: float) -> list[float]:
    """Drop the largest and the smallest entries, as mergekit 0.1.5 counts them.

    Of N entries, target = ⌊density·N⌋ stay; top = ⌊gamma·N⌋ of the largest go, fewer where too few would be left
    (top ≤ N − target). In ascending order that is [bottom, bottom + target) with bottom = N − target − top. Nothing
    stays where target is 0; a density of 1 or more keeps everything, outliers too.
    """
    if density >= 1.0:
        return list(d)
    target = int(density * len(d))
    top = min(int(gamma * len(d)), len(d) - target)
    return keep_at(d, descending(d)[top : top + target])


def thin_outliers(base: Vector, models: Rows, densities: Vector, gammas: Vector, rescale: bool) -> list[list[float]]:
    """Deltas without outliers; with the sum of magnitudes they had, if rescaled."""
    deltas = [delta(m, base) for m in models]
    kept = [trim_outliers(d, density, gamma) for d, density, gamma in zip(deltas, densities, gammas)]
    return [rescale_l1(d, k) for d, k in zip(deltas, kept)] if rescale else kept


def breadcrumbs(
    base: Vector,
    models: Rows,
    weights: Vector,
    densities: Vector,
    gammas: Vector,
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: bool = False,
) -> list[float]:
    """Task arithmetic on the deltas without their largest and smallest entries."""
    thinned = thin_outliers(base, models, densities, gammas, rescale)
    return add_to(base, sum_deltas(thinned, weights, normalize, len(base)), lambda_)


def breadcrumbs_ties(
    base: Vector,
    models: Rows,
    weights: Vector,
    densities: Vector,
    gammas: Vector,
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: bool = False,
) -> list[float]:
    """The sign election of TIES on the deltas without their largest and smallest entries."""
    thinned = thin_outliers(base, models, densities, gammas, rescale)
    return add_to(base, elect(thinned, weights, normalize, len(base)), lambda_)


def della_probabilities(row: Vector, density: float, epsilon: float) -> list[float]:
    """Chance to stay: from density − ε for the smallest entry of the row to density + ε for the largest, by rank.

    With ranks r = 0 … m−1, p = density − ε + 2ε·r/(m−1). A row of one entry, where that is 0/0, has p = density.
    """
    if len(row) == 1:
        return [density]
    ranks = dict(zip(reversed(descending(row)), range(len(row))))
    return [density - epsilon + 2.0 * epsilon * ranks[i] / (len(row) - 1) for i in range(len(row))]


def magprune(rows: Rows, density: float, epsilon: float, draws: Rows, rescale: str = "p") -> list[list[float]]:
    """DELLA's drop: an entry stays where its uniform draw in [0, 1) is below its probability p.

    Survivors are divided by their p ("p": the paper's 1/(1 − pᵢ) with pᵢ the chance to be dropped), multiplied so that
    the tensor keeps its sum of magnitudes ("l1": mergekit), or left alone ("none"). Density 1 or more keeps all as is.
    """
    if density >= 1.0:
        return [list(row) for row in rows]
    chances = [della_probabilities(row, density, epsilon) for row in rows]
    kept = [[x if u < p else 0.0 for x, p, u in zip(*lists)] for lists in zip(rows, chances, draws)]
    if rescale == "p":
        return [[x / p for x, p in zip(row, chance)] for row, chance in zip(kept, chances)]
    return match_l1(rows, kept) if rescale == "l1" else kept


def match_l1(rows: Rows, kept: Rows) -> list[list[float]]:
    """`rescale_l1` over a whole tensor of rows."""
    flat = iter(rescale_l1([x for row in rows for x in row], [x for row in kept for x in row]))
    return [[next(flat) for _ in row] for row in kept]


def magpruned_deltas(
    base: Rows, models: Sequence[Rows], densities: Vector, epsilons: Vector, draws: Sequence[Rows], rescale: str
) -> list[list[float]]:
    """Every model's pruned delta, flattened."""
    pruned = []
    for model, density, epsilon, uniform in zip(models, densities, epsilons, draws):
        deltas = [delta(row, origin) for row, origin in zip(model, base)]
        pruned.append([x for row in magprune(deltas, density, epsilon, uniform, rescale) for x in row])
    return pruned


def della_linear(
    base: Rows,
    models: Sequence[Rows],
    weights: Vector,
    densities: Vector,
    epsilons: Vector,
    draws: Sequence[Rows],
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: str = "p",
) -> list[float]:
    """Task arithmetic on pruned deltas; rows in, the flattened tensor out."""
    pruned = magpruned_deltas(base, models, densities, epsilons, draws, rescale)
    flat = [x for row in base for x in row]
    return add_to(flat, sum_deltas(pruned, weights, normalize, len(flat)), lambda_)


def della(
    base: Rows,
    models: Sequence[Rows],
    weights: Vector,
    densities: Vector,
    epsilons: Vector,
    draws: Sequence[Rows],
    lambda_: float = 1.0,
    normalize: bool = True,
    rescale: str = "p",
) -> list[float]:
    """The sign election of TIES on pruned deltas; rows in, the flattened tensor out."""
    pruned = magpruned_deltas(base, models, densities, epsilons, draws, rescale)
    flat = [x for row in base for x in row]
    return add_to(flat, elect(pruned, weights, normalize, len(flat)), lambda_)


def drop_l1(d: Vector, keep: Sequence[bool], density: float) -> list[float]:
    """mergekit's DARE: the survivors get the sum of magnitudes of the whole delta instead of 1/density each."""
    kept = drop(d, keep, density, rescale=False)
    return kept if density >= 1.0 else rescale_l1(d, kept)


def dare_linear_l1(
    base: Vector,
    models: Rows,
    weights: Vector,
    densities: Vector,
    keep_masks: Sequence[Sequence[bool]],
    lambda_: float = 1.0,
    normalize: bool = False,
) -> list[float]:
    """Task arithmetic on deltas thinned by `drop_l1`."""
    thinned = [drop_l1(delta(m, base), k, p) for m, k, p in zip(models, keep_masks, densities)]
    return add_to(base, sum_deltas(thinned, weights, normalize, len(base)), lambda_)


def dare_ties_l1(
    base: Vector,
    models: Rows,
    weights: Vector,
    densities: Vector,
    keep_masks: Sequence[Sequence[bool]],
    lambda_: float = 1.0,
    normalize: bool = False,
) -> list[float]:
    """The sign election of TIES on deltas thinned by `drop_l1`."""
    thinned = [drop_l1(delta(m, base), k, p) for m, k, p in zip(models, keep_masks, densities)]
    return add_to(base, elect(thinned, weights, normalize, len(base)), lambda_)


def trim_whole_model(tensors: Rows, density: float) -> list[list[float]]:
    """One threshold for all tensors of one delta: its k-th largest magnitude, k = max(1, ⌊density·n⌋).

    Entries equal to the threshold all stay (the paper's code: |d| ≥ threshold). The paper says the top k of n; its code
    (`topk_values_mask` in ties-merging) takes the (n − k)-th smallest as threshold and so keeps one entry more.
    """
    magnitudes = sorted((abs(x) for d in tensors for x in d), reverse=True)
    if density >= 1.0 or not magnitudes:
        return [list(d) for d in tensors]
    threshold = magnitudes[max(1, int(density * len(magnitudes))) - 1]
    return [[x if abs(x) >= threshold else 0.0 for x in d] for d in tensors]


def elect_counted(deltas: Rows, weights: Vector, n: int, divide: bool = True) -> list[float]:
    """Votes as in `elect`; the sum of those that agree is divided by how many agree, or not at all.

    With all weights 1 this is the disjoint mean of the paper (§3, step 3), and without division FusionBench's sum.
    """
    return [elect_counted_entry([w * d[i] for w, d in zip(weights, deltas)], divide) for i in range(n)]


def elect_counted_entry(votes: Vector, divide: bool) -> float:
    """One entry; `votes` are the weighted deltas. A draw counts as plus, a vote of zero agrees with neither sign."""
    sign = 1.0 if math.fsum(votes) >= 0.0 else -1.0
    agree = [v for v in votes if v * sign > 0.0]
    return math.fsum(agree) / (max(1, len(agree)) if divide else 1)


def elect_peft(deltas: Rows, weights: Vector, n: int) -> list[float]:
    """PEFT: the sign is elected before the weights are applied; weighted sum over the number that agree."""
    merged = []
    for i in range(n):
        sign = 1.0 if math.fsum(d[i] for d in deltas) >= 0.0 else -1.0
        agree = [w * d[i] for w, d in zip(weights, deltas) if d[i] * sign > 0.0]
        merged.append(math.fsum(agree) / max(1, len(agree)))
    return merged
