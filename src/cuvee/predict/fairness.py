"""Rates by group and the gaps between groups. Groups are looked at here and nowhere else: no combiner sees them.

    accuracy        share of rows whose class is predicted
    selection_rate  share of rows predicted to be positive
    tpr             share of positive rows predicted to be positive
    fpr             share of the other rows predicted to be positive
    ece             calibration error of the most probable class (judging's `ece`)

Shares have Wilson's interval, which holds for few rows too; the calibration error has 1.96 bootstrap standard errors,
and gaps, the largest less the smallest of the groups that are not small, have percentiles of a bootstrap within groups.
A gap cannot be negative, so that of no difference at all is still some way above zero: see its interval's lower end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, nearest
from cuvee.judging.metrics import metric_named
from cuvee.judging.resampling import resampled
from cuvee.predict.bank import Bank
from cuvee.predict.honest import estimated
from cuvee.predict.judged import Estimate, answers_of, estimate, truth_in
from cuvee.predict.rows import is_lacking
from cuvee.predict.state import State
from cuvee.predict.trained import Label

RATES: Final = ("accuracy", "selection_rate", "tpr", "fpr")
MEASURES: Final = (*RATES, "ece")
SMALL: Final = 30
"""Rows below which a group is marked, and left out of the gaps."""
DRAWS: Final = 1000
_Z: Final = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Group:
    """One group.

    Attributes:
        name: the value that its rows share.
        n: rows.
        positives: rows whose right answer is positive.
        measures: measure → figure with its interval; `None` where there is no row to take it of.
        is_small: whether it has fewer than 30 rows.
    """

    name: str
    n: int
    positives: int
    measures: Mapping[str, Estimate | None]
    is_small: bool


@dataclass(frozen=True, eq=False)
class Fairness:
    """All groups.

    Attributes:
        positive: the class that counts as positive.
        groups: the groups, by name.
        gaps: measure → largest less smallest with its interval; `None` where fewer than two groups have it.
        how: whether predictions are of rows that the combiner was fitted on (`honest.How`).
        notes: what should be known.
    """

    positive: Label
    groups: tuple[Group, ...]
    gaps: Mapping[str, Estimate | None]
    how: str
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)

    def as_rows(self) -> list[dict[str, Any]]:
        """A row for each group, and one for the gaps."""
        rows = [{"group": one.name, "n": one.n, "small": one.is_small} | _flat(one.measures) for one in self.groups]
        return [*rows, {"group": "gap", "n": sum(one.n for one in self.groups), "small": False} | _flat(self.gaps)]


def _flat(measures: Mapping[str, Estimate | None]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, one in measures.items():
        low, high = (None, None) if one is None else (one.low, one.high)
        row |= {name: None if one is None else one.value, f"{name}_low": low, f"{name}_high": high}
    return row


def fairness(
    state: State,
    bank: Bank,
    groups: Sequence[Any] | Mapping[str, Any],
    *,
    positive: Label | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Fairness:
    """Rates by group of what an ensemble predicts.

    Args:
        state: the version.
        bank: predictions of its members with right answers. Where the combiner was fitted on its rows, predictions are
            those of fits without them.
        groups: the group of every row of the bank in its order, or id → group.
        positive: the class whose prediction is looked at; of two classes the second without it.
        draws: of the bootstrap.
        seed: of the random numbers.

    Raises:
        UsageError: `bad-argument`: it is a regression; no such class; none named where there are more than two.
        InputError: `rows-differ`: not one group for each row; `bad-data`: rows without a group; `missing-label`.
    """
    chosen = _positive(bank, positive)
    names = _names(bank, groups)
    part = bank.covered()
    if len(part) < len(bank):
        names = names[bank.mask.any(axis=0)]
    truth_in(part)
    found = estimated(state, part, seed=seed)
    figures, drawn = [], []
    for place, name in enumerate(dict.fromkeys(sorted(names.tolist()))):
        at = np.flatnonzero(names == name)
        figures.append(_group(name, found.P[at], part.rows(at), chosen))
        drawn.append(_drawn(found.P[at], part.rows(at), chosen, draws, (seed, place)))
    small = [one.name for one in figures if one.is_small]
    notes = (f"fewer than {SMALL} rows, left out of the gaps: {', '.join(small)}",) if small else ()
    return Fairness(bank.classes[chosen], tuple(figures), _gaps(figures, drawn), found.how, (*notes, *found.notes))


def _positive(bank: Bank, positive: Label | None) -> int:
    """The number of the positive class."""
    if bank.task != "classification":
        raise UsageError(Fault("bad-argument", "rates by group are of a classification; this is a regression"))
    if positive is None:
        if len(bank.classes) > 2:
            message = f"with {len(bank.classes)} classes `positive` must name the one that is looked at"
            hint = f"one of {', '.join(map(str, bank.classes))}"
            raise UsageError(Fault("bad-argument", message, subject="positive", hint=hint))
        return 1
    if positive not in bank.classes:
        message = f"`positive` must be a class; found {positive!r}"
        hint = nearest(str(positive), map(str, bank.classes))
        raise UsageError(Fault("bad-argument", message, subject="positive", hint=hint))
    return bank.classes.index(positive)


def _names(bank: Bank, groups: Sequence[Any] | Mapping[str, Any]) -> Array:
    """The group of every row, as text."""
    given = [groups.get(name) for name in bank.ids] if isinstance(groups, Mapping) else list(groups)
    if len(given) != len(bank):
        message = f"there must be a group for each of {len(bank):,} rows; found {len(given):,}"
        raise InputError(Fault("rows-differ", message, subject="groups"))
    lacking = [row for row, one in zip(bank.ids, given) if is_lacking(one) or str(one) == ""]
    if lacking:
        message = f"every row must have a group; {len(lacking):,} have none, first row {lacking[0]!r}"
        hint = "give them a group of their own, such as 'unknown', or leave the rows out"
        raise InputError(Fault("bad-data", message, subject="groups", hint=hint))
    return np.array([str(one) for one in given])


def _hits(P: Array, bank: Bank, positive: int) -> dict[str, tuple[Array, Array]]:
    """Rate → which rows are counted, and which rows they are counted among; bool `[N]` each."""
    truth, said = truth_in(bank), P.argmax(axis=1)
    all_rows = np.ones(len(bank), dtype=bool)
    is_positive, selected = truth == positive, said == positive
    return {
        "accuracy": (said == truth, all_rows),
        "selection_rate": (selected, all_rows),
        "tpr": (selected & is_positive, is_positive),
        "fpr": (selected & ~is_positive, ~is_positive),
    }


def _group(name: str, P: Array, bank: Bank, positive: int) -> Group:
    measures: dict[str, Estimate | None] = {}
    for rate, (hits, among) in _hits(P, bank, positive).items():
        measures[rate] = wilson(int(hits.sum()), int(among.sum())) if among.any() else None
    measures["ece"] = estimate(answers_of(P, bank), "ece")
    return Group(name, len(bank), int((truth_in(bank) == positive).sum()), measures, len(bank) < SMALL)


def wilson(hits: int, n: int) -> Estimate:
    """A share with Wilson's 95 % interval.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n),  z = 1.96   (Wilson 1927)

    Example:
        >>> found = wilson(8, 10)
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.8, 0.49, 0.943)
    """
    p, square = hits / n, _Z * _Z
    middle = p + square / (2 * n)
    half = _Z * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    whole = 1 + square / n
    low, high = (middle - half) / whole, (middle + half) / whole
    return Estimate(p, low if hits else 0.0, high if hits < n else 1.0)  # which these are, but for rounding


def _drawn(P: Array, bank: Bank, positive: int, draws: int, seed: tuple[int, int]) -> dict[str, Array]:
    """Every measure on rows of the group drawn again, `[draws]`; NaN where it has none."""
    n = len(bank)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    found = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for rate, (hits, among) in _hits(P, bank, positive).items():
            found[rate] = (counts @ hits) / (counts @ among)
    metric = metric_named("ece", "classification")
    found["ece"] = resampled(metric, [answers_of(P, bank)], draws=draws, seed=seed)[0]
    return found


def _gaps(groups: Sequence[Group], drawn: Sequence[Mapping[str, Array]]) -> dict[str, Estimate | None]:
    return {measure: _gap(measure, groups, drawn) for measure in MEASURES}


def _gap(measure: str, groups: Sequence[Group], drawn: Sequence[Mapping[str, Array]]) -> Estimate | None:
    counted = [
        (found.value, spread[measure])
        for group, spread in zip(groups, drawn)
        if not group.is_small and (found := group.measures[measure]) is not None
    ]
    if len(counted) < 2:
        return None
    values, spreads = [value for value, _ in counted], np.stack([spread for _, spread in counted])
    gaps = spreads.max(axis=0) - spreads.min(axis=0)
    gaps = gaps[np.isfinite(gaps)]
    value = max(values) - min(values)
    if len(gaps) <= spreads.shape[1] // 2:
        return Estimate(value, math.nan, math.nan)
    low, high = (float(q) for q in np.quantile(gaps, [0.025, 0.975]))
    return Estimate(value, low, high)
