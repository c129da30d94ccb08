"""Answers made by hand or drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cuvee.judging.answers import Answers, Kind


def answers(kind: Kind, groups: Mapping[str, Sequence[str]] | None = None, **columns: Any) -> Answers:
    """Answers of these columns; rows are called `r0`, `r1`, …"""
    made = {name: np.asarray(column) for name, column in columns.items()}
    count = len(next(iter(made.values())))
    named = None if groups is None else {name: tuple(column) for name, column in groups.items()}
    return Answers(kind, made, tuple(f"r{i}" for i in range(count)), groups=named)


def matches(correct: Sequence[float], **more: Any) -> Answers:
    """Right and wrong answers."""
    return answers("match", correct=np.asarray(correct, dtype=np.float64), **more)


def classified(truth: Sequence[int], probabilities: Any, **more: Any) -> Answers:
    """Probabilities of classes."""
    return answers("classification", truth=np.asarray(truth), probabilities=np.asarray(probabilities), **more)


def regressed(truth: Sequence[float], predicted: Any, **more: Any) -> Answers:
    """Numbers predicted."""
    return answers("regression", truth=np.asarray(truth, float), predicted=np.asarray(predicted, float), **more)


def drawn(kind: Kind, n: int, seed: int, classes: int = 3, skill: float = 1.0) -> Answers:
    """Answers from a seed: the truth is that of seed 0 for all, so that models can be compared."""
    truths, own = np.random.default_rng([0, n]), np.random.default_rng([seed, n, 1])
    if kind == "classification":
        truth = np.concatenate([np.arange(classes), truths.integers(classes, size=n)])[:n]
        logits = own.normal(size=(n, classes)) + skill * np.eye(classes)[truth]
        return classified(truth, np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    if kind == "regression":
        truth = truths.normal(size=n)
        return regressed(truth, truth + own.normal(size=n) / skill)
    if kind == "match":
        return answers("match", correct=own.random(n) < 0.6, parsed=own.random(n) < 0.9)
    if kind == "likelihood":
        tokens = truths.integers(5, 50, size=n)
        return answers("likelihood", nats=tokens * own.gamma(4.0, 0.5, size=n), tokens=tokens, bytes=tokens * 4)
    if kind == "outcome":
        return answers("outcome", value=own.normal(size=n))
    return answers("retrieval", rank=own.geometric(0.4, size=n))


KINDS: tuple[Kind, ...] = ("classification", "regression", "match", "likelihood", "retrieval", "outcome")
