"""Whether new rows are like those that a combiner was fitted on: what members are worth, and what they say.

    score     mean loss (−ln p(y), or the squared error) on new rows less that on old ones; the p-value is that of a
              permutation test: rows dealt out anew to old and new
    said      classes predicted on old and new rows (values: tenths of the old ones): χ² of the two counts, its p-value
              from the same dealing out, and the population stability index
                  PSI = Σ_b (n_b − o_b) ln(n_b / o_b),   o and n the shares, half a row added to each count
              where below 0.1 is commonly called stable and above 0.25 a shift

All that is told of one update is one family of tests: `is_alarming` compares with 0.05 divided by their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cuvee.combine import Array
from cuvee.predict.bank import Bank
from cuvee.predict.judged import METRICS, Estimate, answers_of, estimate, truth_in

DRAWS: Final = 999
LEVEL: Final = 0.05
_NORMAL: Final = 1.959963984540054
_LEAST: Final = float(np.finfo(np.float64).eps)
_TENTHS: Final = 10


@dataclass(frozen=True, slots=True)
class Drift:
    """How one member, or the ensemble, does on new rows.

    Attributes:
        name: whose.
        metric: what `before` and `after` are.
        before: its score on the rows the combiner was fitted on; `None` where there are none.
        after: its score on the new rows; `None` where it predicted none.
        change: mean loss on the new rows less that on the old ones, with its interval: positive is worse.
        p_value: of that change; NaN without old rows.
        chi_squared: of what it predicts.
        shift_p_value: of that.
        psi: population stability index.
        tests: how many p-values the report has.
    """

    name: str
    metric: str
    before: Estimate | None
    after: Estimate | None
    change: Estimate
    p_value: float
    chi_squared: float
    shift_p_value: float
    psi: float
    tests: int = 1

    @property
    def is_alarming(self) -> bool:
        """Whether a change is more than chance over all tests of the report."""
        return any(p < LEVEL / self.tests for p in (self.p_value, self.shift_p_value))  # NaN is below nothing


def drift_of(names: Sequence[str], old: Bank | None, olds: Array | None, new: Bank, news: Array) -> tuple[Drift, ...]:
    """Drift of several predictors.

    Args:
        names: whose predictions they are.
        old: rows that were there; `None` for none.
        olds: `[names, N, K]` on them, NaN where nothing was said.
        new: the new rows.
        news: `[names, N', K]` on them.
    """
    if old is None or olds is None:
        return tuple(_unknown_before(name, P, new) for name, P in zip(names, news))
    losses = np.concatenate([losses_of(olds, old), losses_of(news, new)], axis=1)
    changes = _changes(losses, len(old))
    tests = 2 * len(names)
    return tuple(
        Drift(
            name,
            METRICS[new.task][0],
            _score(was, old),
            _score(now, new),
            change,
            p_value,
            *shift_of(_kinds(was, was, old), _kinds(now, was, new)),
            tests,
        )
        for name, was, now, (change, p_value) in zip(names, olds, news, changes)
    )


def _unknown_before(name: str, P: Array, new: Bank) -> Drift:
    nothing = Estimate(math.nan, math.nan, math.nan)
    return Drift(name, METRICS[new.task][0], None, _score(P, new), nothing, math.nan, math.nan, math.nan, math.nan)


def _score(P: Array, bank: Bank) -> Estimate | None:
    there = np.flatnonzero(np.isfinite(P).all(axis=1))
    return estimate(answers_of(P[there], bank.rows(there)), METRICS[bank.task][0]) if len(there) else None


def losses_of(P: Array, bank: Bank) -> Array:
    """The loss of every row, `[…, N]`: −ln p(y), or the squared error; NaN where nothing was said."""
    truth = truth_in(bank)
    if bank.task == "regression":
        squares: Array = (P[..., 0] - truth) ** 2
        return squares
    right = P[..., np.arange(len(bank)), truth]
    surprise: Array = -np.log(np.clip(right, _LEAST, 1 - _LEAST))
    return surprise


def _changes(losses: Array, old: int, seed: int = 0) -> list[tuple[Estimate, float]]:
    """Change of the mean loss with its interval (Welch's), and the p-value of the permutation test, for each."""
    said = np.isfinite(losses)
    whole = np.where(said, losses, 0.0)
    is_new = np.arange(losses.shape[1]) >= old
    found = _differences(whole, said, is_new[None].astype(np.float64))[:, 0]
    generator = np.random.default_rng(seed)
    dealt = np.array([generator.permutation(is_new) for _ in range(DRAWS)], dtype=np.float64)
    drawn = _differences(whole, said, dealt)
    near = np.abs(found)[:, None] - 1e-12 * np.maximum(1.0, np.abs(found))[:, None]
    p_values = (1 + (np.abs(drawn) >= near).sum(axis=1)) / (DRAWS + 1)
    return [
        (_interval(float(value), row[~is_new], row[is_new]), float(p) if np.isfinite(value) else math.nan)
        for value, p, row in zip(found, p_values, losses)
    ]


def _differences(whole: Array, said: Array, is_new: Array) -> Array:
    """Mean over the new less mean over the others, `[predictors, draws]`; NaN where one of them has none."""
    counts, sums = said.astype(np.float64) @ is_new.T, whole @ is_new.T
    with np.errstate(invalid="ignore", divide="ignore"):
        others = (whole.sum(axis=1)[:, None] - sums) / (said.sum(axis=1)[:, None] - counts)
        difference: Array = sums / counts - others
    return difference


def _interval(value: float, before: Array, after: Array) -> Estimate:
    one, two = before[np.isfinite(before)], after[np.isfinite(after)]
    if len(one) < 2 or len(two) < 2:
        return Estimate(value, math.nan, math.nan)
    half = _NORMAL * math.sqrt(one.var(ddof=1) / len(one) + two.var(ddof=1) / len(two))
    return Estimate(value, value - half, value + half)


def _kinds(P: Array, reference: Array, bank: Bank) -> Array:
    """How many rows are predicted to be of each class, or in each tenth of the reference."""
    there = P[np.isfinite(P).all(axis=1)]
    if bank.task == "classification":
        return np.bincount(there.argmax(axis=1), minlength=P.shape[1])
    known = reference[np.isfinite(reference)]
    edges = np.quantile(known, np.arange(1, _TENTHS) / _TENTHS) if len(known) else np.zeros(_TENTHS - 1)
    return np.bincount(np.searchsorted(edges, there[:, 0]), minlength=_TENTHS)


def shift_of(old: Array, new: Array, seed: int = 0) -> tuple[float, float, float]:
    """χ² of two counts, the p-value of dealing the rows out anew, and the population stability index.

    Args:
        old: `[B]`, rows of each kind before.
        new: `[B]`, the same now.
        seed: of the random numbers.

    Example:
        >>> shift_of(np.array([50, 50]), np.array([50, 50]))
        (0.0, 1.0, 0.0)
    """
    if not old.sum() or not new.sum():
        return math.nan, math.nan, math.nan
    both = old + new
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(both, int(new.sum()), size=DRAWS)
    found = _chi_squared(both, new)
    more = int((_chi_squared(both, drawn) >= float(found) * (1 - 1e-9)).sum())
    was, now = _shares(old), _shares(new)
    return float(found), (1 + more) / (DRAWS + 1), float(((now - was) * np.log(now / was)).sum())


def _shares(counts: Array) -> Array:
    """Shares of each kind, half a row added to each."""
    shares: Array = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def _chi_squared(both: Array, new: Array) -> Array:
    """Σ (observed − expected)² / expected over both rows of the table, `[…]`; kinds without any row count nothing."""
    there = both > 0
    both, new = both[there], new[..., there]
    share = new.sum(axis=-1, keepdims=True) / both.sum()
    expected = both * share
    squares = (new - expected) ** 2
    found: Array = (squares / expected + squares / (both - expected)).sum(axis=-1)
    return found
