"""Temperature: one number that makes probabilities as sure as they are right."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.combine.parts import Array
from cuvee.combine.product import softmax
from cuvee.errors import Fault, InputError

COLDEST: Final = 0.05
HOTTEST: Final = 20.0
"""The range of temperatures. Where one class is right in every row, ever colder would be ever better."""

FLOOR: Final = 1e-12
"""What a probability counts as at least, for its logarithm."""

TOLERANCE: Final = 1e-3
"""How far a row may be from summing to one."""

_STEPS: Final = 60
"""Halvings of the range of 1/T: it is [0.05, 20], so what is left is below the rounding of a float."""


def apply_temperature(P: Array, temperature: float | Array) -> Array:
    """`softmax(ln max(p, 1e-12) / T)`: the order of the classes stays, T > 1 makes them less sure, T < 1 surer.

    Args:
        P: `[…, K]`, probabilities.
        temperature: T > 0, a number or an array that goes with `P` (`[M, 1, 1]` for `[M, N, K]`).

    Returns:
        the shape of `P`, rows that sum to one; NaN where `P` is.

    Example:
        >>> apply_temperature(np.array([[0.9, 0.1]]), 2.0).round(6).tolist()
        [[0.75, 0.25]]
    """
    return softmax(np.log(np.maximum(P, FLOOR)) / temperature)


def fit_temperature(P: Array, truth: Array) -> float:
    """The temperature with the least log-loss on rows whose class is known.

        L(β) = 1/N Σ_n (ln Σ_k exp(β z_nk) − β z_ny),   z = ln max(p, 1e-12),   β = 1/T
        L′(β) = 1/N Σ_n (E_β[z_n] − z_ny),   L″ ≥ 0

    L is convex in β, so its slope is zero at one place at most, and halving the range finds it whatever the data: to
    rounding. Where the slope keeps its sign over the range, the end is taken; where it is zero throughout (every row
    uniform), T = 1.

    Args:
        P: `[N, K]`, probabilities.
        truth: `[N]`, numbers of classes.

    Returns:
        T in [0.05, 20].

    Raises:
        InputError: `too-few-rows`: there is none; `rows-differ`; `bad-data`: rows that are no probabilities, or
            numbers that no class has.

    Source:
        Guo et al. 2017, arXiv:1706.04599, section 4.2; after pooling: Rahaman and Thiery 2020, arXiv:2007.08792.

    Example:
        >>> fit_temperature(np.array([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])).__round__(6)
        2.0
    """
    _check(P, truth)
    logs = np.log(np.maximum(P, FLOOR))
    right = logs[np.arange(len(truth)), truth]

    def slope(beta: float) -> float:
        return float(((softmax(beta * logs) * logs).sum(axis=1) - right).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(1.0) == 0:
        return 1.0
    if slope(low) >= 0 or slope(high) <= 0:
        return HOTTEST if slope(low) >= 0 else COLDEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def _check(P: Array, truth: Array) -> None:
    if P.ndim != 2 or truth.ndim != 1 or truth.dtype.kind not in "iu":
        wanted = "a temperature is fitted to probabilities [rows, classes] and whole numbers of classes [rows]"
        found = f"{list(P.shape)}, and {truth.dtype} {list(truth.shape)}"
        raise InputError(Fault("bad-data", f"{wanted}; found {found}"))
    if len(P) != len(truth):
        raise InputError(
            Fault("rows-differ", f"there must be a class for each of {len(P):,} rows; found {len(truth):,}")
        )
    if not len(P):
        hint = "give rows whose class is known"
        raise InputError(Fault("too-few-rows", "a temperature needs at least one row; found none", hint=hint))
    good = (P >= 0).all(axis=1) & (np.abs(P.sum(axis=1) - 1) <= TOLERANCE)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        message = f"probabilities must be finite, 0 or more, and sum to one; row {row} is {P[row].tolist()}"
        raise InputError(Fault("bad-data", message, hint="take the softmax of logits"))
    if truth.min() < 0 or truth.max() >= P.shape[1]:
        wanted = f"classes must be numbers from 0 to {P.shape[1] - 1}"
        raise InputError(Fault("bad-data", f"{wanted}; found {int(truth.min())} to {int(truth.max())}"))
