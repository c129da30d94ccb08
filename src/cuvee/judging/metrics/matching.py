"""Texts compared and choices made: the share that is right, and the share that has the form asked for."""

from __future__ import annotations

import numpy as np

from cuvee.judging.answers import Answers
from cuvee.judging.metrics.declared import Array, Mean, Metric


def _correct(answers: Answers) -> Array:
    return answers.columns["correct"].astype(np.float64)


def _parsed(answers: Answers) -> Array:
    return answers.columns["parsed"].astype(np.float64)


METRICS = (
    Metric(
        "correct",
        ("match",),
        "higher",
        Mean(_correct),
        "1/n Σ [answer = truth]",
        "[0, 1]",
        "exact match, or the share of choices that are right; the task says what is compared",
        also=("exact_match", "choice_accuracy"),
    ),
    Metric(
        "parsed",
        ("match",),
        "higher",
        Mean(_parsed),
        "1/n Σ [answer has the form asked for]",
        "[0, 1]",
        "the task says what form that is",
        needs=("parsed",),
    ),
)
