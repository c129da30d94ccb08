"""Confidences made into probabilities of being right, fitted on labelled rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cuvee.errors import Fault, UsageError

Array = np.ndarray[Any, Any]


class Calibration(Protocol):
    """A map from confidences to probabilities that never reverses their order."""

    def __call__(self, confidences: Sequence[float] | Array) -> Array:
        """Probabilities, `[n]`."""
        ...


def share_faults(scores: Array) -> list[Fault]:
    """What keeps scores from being how right answers were, 0 to 1."""
    if ((scores >= 0) & (scores <= 1)).all():
        return []
    found = f"{scores.min():g} to {scores.max():g}"
    message = f"scores must be from 0 to 1 for confidences to become probabilities; found {found}"
    return [Fault("bad-argument", message, subject="score", hint="set calibrate=None, or divide the scores")]


@dataclass(frozen=True, eq=False)
class Isotonic:
    """The non-decreasing function that is nearest to what was right, by least squares; linear between its knots.

    Attributes:
        x: confidences at which it was fitted, increasing.
        y: probabilities there.
    """

    x: Array
    y: Array

    def __call__(self, confidences: Sequence[float] | Array) -> Array:
        """Probabilities, `[n]`; outside the knots, those of the nearest."""
        return np.interp(np.asarray(confidences, np.float64), self.x, self.y)


def isotonic(confidences: Sequence[float] | Array, right: Sequence[float] | Array) -> Isotonic:
    """Pool adjacent violators: neighbours in the wrong order are replaced by their mean until none are.

    Args:
        confidences: `[n]`, one or more; equal ones are one point.
        right: `[n]`, how right each answer was, 0 to 1.

    Example:
        >>> isotonic([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1]).y.tolist()
        [0.0, 0.5, 0.5, 1.0]

    Reference:
        Ayer et al. 1955, An Empirical Distribution Function for Sampling with Incomplete Information.
    """
    x, where = np.unique(np.asarray(confidences, np.float64), return_inverse=True)
    count = np.bincount(where).astype(np.float64)
    mean = np.bincount(where, np.asarray(right, np.float64)) / count
    blocks: list[tuple[float, float, int]] = []  # mean, rows, points
    for value, rows in zip(mean, count, strict=True):
        block = (float(value), float(rows), 1)
        while blocks and blocks[-1][0] >= block[0]:
            m, r, p = blocks.pop()
            block = ((m * r + block[0] * block[1]) / (r + block[1]), r + block[1], p + block[2])
        blocks.append(block)
    return Isotonic(x, np.repeat([m for m, _, _ in blocks], [p for _, _, p in blocks]))


@dataclass(frozen=True, slots=True)
class Tempered:
    """p = σ( logit(c) / T ), the temperature fitted by likelihood.

    Attributes:
        temperature: above 1 where confidences were too sure.
    """

    temperature: float

    def __call__(self, confidences: Sequence[float] | Array) -> Array:
        """Probabilities, `[n]`."""
        return 1 / (1 + np.exp(-_logits(confidences) / self.temperature))


def tempered(confidences: Sequence[float] | Array, right: Sequence[float] | Array) -> Tempered:
    """The temperature with the smallest log loss, found in 1/T, in which the loss is convex; between 1/100 and 100.

    Args:
        confidences: `[n]`, 0 to 1.
        right: `[n]`, 0 to 1.

    Raises:
        UsageError: `bad-argument`: confidences outside 0 to 1.
    """
    given = np.asarray(confidences, np.float64)
    if ((given < 0) | (given > 1)).any():
        message = (
            f"a temperature needs confidences from 0 to 1; found {float(given.min()):.4g} to {float(given.max()):.4g}"
        )
        raise UsageError(Fault("bad-argument", message, subject="confidence", hint="use calibrate='isotonic'"))
    z, y = _logits(given), np.asarray(right, np.float64)

    def loss(b: float) -> float:
        return float((np.logaddexp(0, b * z) - y * b * z).mean())

    low, high = 0.01, 100.0
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(100):  # golden section
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return Tempered(2 / (low + high))


def _logits(confidences: Sequence[float] | Array) -> Array:
    given = np.clip(np.asarray(confidences, np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(given) - np.log1p(-given))
