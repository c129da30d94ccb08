"""A cascade over answers: a cheap model first, a dear one where the cheap one is unsure; and the threshold of that.

    confidence   c_i = max_k p_ik of the cheap model
    cascade      row i is the cheap model's where c_i ≥ τ, and the dear one's elsewhere

The threshold is the smallest of those that lose no more than is allowed against the dear model, on rows that nothing is
judged on: more of the rows go to the dear model as it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cuvee.combine.cascade import cascade
from cuvee.errors import Fault, InputError
from cuvee.judging.answers import Answers
from cuvee.judging.metrics.declared import Array

OnTasks = Mapping[str, Answers]
"""Task → answers."""

STEPS: Final = 64
"""Thresholds that are tried at most, at even shares of the rows."""
NEVER: Final = 0.0
"""The threshold below which no confidence is: the dear model is never asked."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold that was fitted.

    Attributes:
        value: τ.
        share: share of the rows, the mean over tasks, that go to the dear model.
        gain: what the cascade comes to on the rows that it was fitted on.
    """

    value: float
    share: float
    gain: float


def confidence(answers: Answers) -> Array:
    """The largest probability of each row, `[n]`.

    Raises:
        InputError: `undefined-metric`: answers of this kind say no probabilities.
    """
    found: Array = _probabilities(answers).max(axis=1)
    return found


def _probabilities(answers: Answers) -> Array:
    if "probabilities" not in answers.columns:
        message = (
            f"a cascade needs the probabilities of the model that is asked first; answers of kind `{answers.kind}`"
        )
        raise InputError(Fault("undefined-metric", f"{message} tell none"))
    return answers.columns["probabilities"]


def passed_on(first: Answers, threshold: float) -> Array:
    """The rows that go to the dear model, bool `[n]`.

    Raises:
        InputError: `undefined-metric`.
    """
    return confidence(first) < threshold


def cascaded(first: Answers, second: Answers, threshold: float) -> Answers:
    """The answers of a cascade.

    Args:
        first: of the cheap model.
        second: of the dear one, on the same rows in the same order.
        threshold: τ, a probability.

    Raises:
        InputError: `undefined-metric`.

    Example:
        >>> import numpy as np
        >>> truth = np.array([0, 1])
        >>> def saying(*rows):
        ...     return Answers("classification", {"truth": truth, "probabilities": np.array(rows)}, ("a", "b"))
        >>> sure, dear = saying([0.9, 0.1], [0.6, 0.4]), saying([0.7, 0.3], [0.2, 0.8])
        >>> cascaded(sure, dear, 0.8).columns["probabilities"].tolist()
        [[0.9, 0.1], [0.2, 0.8]]
    """
    said = np.stack([_probabilities(first), second.columns["probabilities"]])
    mixed = cascade(said, np.ones(said.shape[:2], bool), np.array([threshold]))
    return replace(first, columns={**first.columns, "probabilities": mixed})


def fit_threshold(first: OnTasks, second: OnTasks, gain: Callable[[OnTasks], float], *, loss: float = 0.0) -> Threshold:
    """The threshold that passes fewest rows on and loses no more than is allowed.

    Args:
        first: answers of the cheap model.
        second: answers of the dear one, on the same rows in the same order.
        gain: what answers on all tasks are worth, larger is better.
        loss: what may be lost against the dear model, in the unit of `gain`, ≥ 0.

    Raises:
        InputError: `undefined-metric`.
    """
    least = gain(second) - loss
    found = Threshold(np.inf, 1.0, gain(second))
    for value in _tried(first):
        mixed = {task: cascaded(one, second[task], value) for task, one in first.items()}
        worth = gain(mixed)
        if worth >= least:
            return Threshold(value, share_passed(first, value), worth)
    return found


def share_passed(first: OnTasks, threshold: float) -> float:
    """The share of rows that go to the dear model, the mean over tasks.

    Raises:
        InputError: `undefined-metric`.
    """
    return float(np.mean([passed_on(one, threshold).mean() for one in first.values()]))


def _tried(first: OnTasks) -> list[float]:
    """Thresholds from the one that passes nothing on upwards, each between two confidences that were seen."""
    seen = np.unique(np.concatenate([confidence(one) for one in first.values()]))
    between = (seen[:-1] + seen[1:]) / 2
    if len(between) > STEPS:
        between = between[np.linspace(0, len(between) - 1, STEPS).round().astype(np.int64)]
    return [NEVER, *between.tolist()]
