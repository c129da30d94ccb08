"""Shapley values and leave-one-out as weighted sums of what sets of parts are worth.

    φᵢ = Σ_{S ∌ i} |S|! (K − |S| − 1)! / K! · (v(S ∪ {i}) − v(S))      over all sets S (Shapley 1953)
    φ̂ᵢ = 1/M Σ_π v(before π i, and i) − v(before π i)                  over M drawn orders π (Castro et al. 2009)
    ℓᵢ = v(all) − v(all but i)

All are linear in v: the weights are worked out once, and hold for scores, for every row of them and for every draw of
a bootstrap. In every order the differences add up to v(all) − v(nothing), so that both Shapley values do.
"""

from __future__ import annotations

from math import comb
from typing import Any, Final

import numpy as np

from cuvee.explaining.coalitions import Course, prefixes
from cuvee.types import Cite

Array = np.ndarray[Any, Any]

SHAPLEY: Final = Cite("Shapley 1953, A Value for n-Person Games, Contributions to the Theory of Games II")
SAMPLED: Final = Cite("Castro, Gómez & Tejada 2009, Polynomial calculation of the Shapley value based on sampling")
DATA: Final = Cite("Ghorbani & Zou 2019, Data Shapley: Equitable Valuation of Data for Machine Learning", "1904.02868")


def shapley_weights(path: Course) -> Array:
    """What every set counts for in every part's Shapley value, `[parts, sets]`: exact, or the mean of drawn orders."""
    return _exact(path) if path.orders is None else pair_weights(path).mean(axis=0)


def leave_one_out_weights(path: Course) -> Array:
    """The same for v(all) − v(all but i)."""
    weights = np.zeros((path.parts, len(path.coalitions)))
    for part in range(path.parts):
        weights[part, path.at(path.whole)] += 1.0
        weights[part, path.at(path.whole & ~(1 << part))] -= 1.0
    return weights


def pair_weights(path: Course) -> Array:
    """The mean of each pair of orders, `[pairs, parts, sets]`; no pairs where all sets are scored."""
    orders = path.orders or ()
    place = {coalition: number for number, coalition in enumerate(path.coalitions)}
    weights = np.zeros((len(orders) // 2, path.parts, len(path.coalitions)))
    for number, order in enumerate(orders):
        passed = [place[coalition] for coalition in prefixes(order)]
        for part, before, after in zip(order, passed, passed[1:], strict=False):
            weights[number // 2, part, after] += 0.5
            weights[number // 2, part, before] -= 0.5
    return weights


def _exact(path: Course) -> Array:
    """The weights of the definition: a set counts for those in it as it is with them, for the others as without."""
    count = path.parts
    weights = np.zeros((count, len(path.coalitions)))
    for number, coalition in enumerate(path.coalitions):
        size = coalition.bit_count()
        for part in range(count):
            if coalition >> part & 1:
                weights[part, number] = 1.0 / (count * comb(count - 1, size - 1))
            else:
                weights[part, number] = -1.0 / (count * comb(count - 1, size))
    return weights
