"""How sure a language model is of what it wrote, 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from cuvee.generate.written import Written

Measure = Literal["mean", "min", "entropy"] | Callable[[Any], float]


def _mean(answer: Written) -> float:
    return math.exp(answer.mean_log)


def _min(answer: Written) -> float:
    return math.exp(min(answer.logs))


def _entropy(answer: Written) -> float:
    return math.exp(-math.fsum(answer.entropies) / len(answer.entropies))


MEASURES: Final[Mapping[str, Callable[[Written], float]]] = {"mean": _mean, "min": _min, "entropy": _entropy}
"""How sure a text is, 0 to 1: geometric mean of its tokens' probabilities; the smallest; exp of −the mean entropy."""


def text_of(answer: Any) -> str:
    """The text of an answer: what a `TokenEnsemble` gives, a text, or the first of a pair."""
    if isinstance(answer, Written):
        return answer.text
    return str(answer[0] if isinstance(answer, tuple) else answer)
