"""From what members are worth to what they weigh: in proportion, by softmax, by the log odds of being right."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from cuvee.combine.parts import Array

Direction = Literal["higher", "lower"]

LEAST: Final = 1e-12
"""What an error of zero counts as where weights are in proportion to its inverse."""


def proportional(scores: Array, direction: Direction) -> Array:
    """Weights in proportion to the score, or to the inverse of the error.

        w_m = max(score_m, 0)              where higher is better: a negative R² weighs nothing
        w_m = 1 / max(score_m, 1e-12)      where lower is better

    Args:
        scores: `[M]`, finite.
        direction: whether higher or lower scores are better.

    Returns:
        `[M]`, ≥ 0; all zero where no score is above zero.

    Example:
        >>> proportional(np.array([0.6, -0.2]), "higher").tolist()
        [0.6, 0.0]
        >>> proportional(np.array([0.5, 0.25]), "lower").tolist()
        [2.0, 4.0]
    """
    return np.maximum(scores, 0.0) if direction == "higher" else 1 / np.maximum(scores, LEAST)


def exponential(scores: Array, direction: Direction, tau: float) -> Array:
    """Weights by softmax, `w_m = exp(± (score_m − best) / τ)`, minus where lower is better.

    Args:
        scores: `[M]`, finite.
        direction: whether higher or lower scores are better.
        tau: > 0, in units of the score: a member that is τ worse weighs 1/e.

    Returns:
        `[M]`, the best member's is 1.
    """
    better = scores if direction == "higher" else -scores
    weights: Array = np.exp((better - better.max()) / tau)
    return weights


def log_odds(right: Array, asked: Array, classes: int) -> Array:
    """Weights for hard votes that make the majority of independent members the most probable class.

        a_m = (right_m + ½) / (asked_m + 1)
        w_m = max(ln(a_m (K − 1) / (1 − a_m)), 0)

    With two classes this is ln(a / (1 − a)) of the paper; with more it is the same for members whose errors fall on all
    other classes alike. A member no better than guessing weighs nothing (the paper would turn its vote round). The
    half row that is counted as right, and the half as wrong, keep a member without errors finite.

    Args:
        right: `[M]`, rows on which it is right.
        asked: `[M]`, rows that it predicted, ≥ 1.
        classes: K ≥ 2.

    Returns:
        `[M]`, ≥ 0.

    Source:
        Nitzan and Paroush 1982, Optimal decision rules in uncertain dichotomous choice situations.
    """
    accuracy = (right + 0.5) / (asked + 1)
    weights: Array = np.maximum(np.log(accuracy * (classes - 1) / (1 - accuracy)), 0.0)
    return weights
