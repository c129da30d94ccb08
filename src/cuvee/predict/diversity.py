"""How unlike members are: duplicates eat weight, and members that err on the same rows add nothing to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import listed
from cuvee.predict.bank import Bank

ALIKE: Final = 0.999
"""Correlation above which two members count as one."""
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Diversity:
    """Pairs of members compared.

    Attributes:
        members: names, in the order of the tables.
        correlation: `[M, M]`, see `correlations`.
        q: `[M, M]`, see `q_statistics`; `None` for a regression and for a bank without truth.
        alike: groups of members whose correlation is above 0.999.
    """

    members: tuple[str, ...]
    correlation: Array
    q: Array | None
    alike: tuple[tuple[str, ...], ...]

    @property
    def mean_q(self) -> float:
        """The mean of Q over the pairs that have one; NaN without any."""
        if self.q is None:
            return float("nan")
        pairs = self.q[np.triu_indices(len(self.members), 1)]
        return float(pairs[np.isfinite(pairs)].mean()) if np.isfinite(pairs).any() else float("nan")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a bank should know."""
        return tuple(
            f"{listed(group, 5)} say the same (correlation above {ALIKE}): they eat each other's weight; keep one"
            for group in self.alike
        )


def diversity(bank: Bank) -> Diversity:
    """How unlike the members of a bank are."""
    found = correlations(bank)
    q = None if bank.task == "regression" or bank.truth is None else q_statistics(bank)
    return Diversity(bank.members, found, q, _groups(bank.members, found > ALIKE))


def correlations(bank: Bank) -> Array:
    """Pearson's correlation of what two members say, over all entries of the rows that both predicted.

    Returns:
        `[M, M]`, 1 on the diagonal; NaN where a member says the same of every row, or no row is common.
    """
    K = bank.P.shape[2]
    there = np.repeat(bank.mask, K, axis=1).astype(np.float64)
    values = np.where(bank.mask[:, :, None], bank.P, 0).reshape(there.shape)
    values = (values - (values.sum(axis=1) / np.maximum(there.sum(axis=1), 1))[:, None]) * there
    n, sums, squares = there @ there.T, values @ there.T, values**2 @ there.T  # all of them over the common entries
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares - sums**2 / n
        spread[spread <= _ROUNDING * squares] = 0  # says the same everywhere, but for rounding
        found: Array = np.clip((values @ values.T - sums * sums.T / n) / np.sqrt(spread * spread.T), -1, 1)
    np.fill_diagonal(found, 1)
    return found


def q_statistics(bank: Bank) -> Array:
    """Yule's Q of two members, over the rows that both predicted.

        Q = (n₁₁ n₀₀ − n₀₁ n₁₀) / (n₁₁ n₀₀ + n₀₁ n₁₀)
        n_ab: rows on which the one is right (a = 1) or wrong (a = 0), and so the other (b)

    1: right and wrong on the same rows; 0: independent; negative: they err on different rows.

    Returns:
        `[M, M]`, 1 on the diagonal; NaN where both products are 0.

    Reference: Kuncheva and Whitaker 2003, Measures of diversity in classifier ensembles, equation 2.
    """
    truth = bank._known_truth()
    right = np.where(bank.mask[:, :, None], bank.P, 0).argmax(axis=2) == truth
    good, bad = (right & bank.mask).astype(np.float64), (~right & bank.mask).astype(np.float64)
    same, other = (good @ good.T) * (bad @ bad.T), (good @ bad.T) * (bad @ good.T)
    with np.errstate(invalid="ignore"):
        found: Array = (same - other) / (same + other)
    np.fill_diagonal(found, 1)
    return found


def _groups(members: tuple[str, ...], linked: Array) -> tuple[tuple[str, ...], ...]:
    """Members that are linked, one by way of another, in groups of two and more."""
    left, groups = list(range(len(members))), []
    while left:
        group = [left.pop(0)]
        for at in group:  # grows while it is walked through
            group += (near := [other for other in left if linked[at, other]])
            left = [other for other in left if other not in near]
        groups.append(tuple(members[at] for at in sorted(group)))
    return tuple(group for group in groups if len(group) > 1)
