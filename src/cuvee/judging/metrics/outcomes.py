"""What a task's own function says of each row: the mean, whichever way the task says is better."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.judging.answers import Answers
from cuvee.judging.metrics.declared import Array, Mean, Metric
from cuvee.types import Direction


def _values(answers: Answers) -> Array:
    return answers.columns["value"].astype(np.float64)


def _mean(name: str, direction: Direction) -> Metric:
    return Metric(name, ("outcome",), direction, Mean(_values), "1/n Σ v", "(−∞, ∞)", "the task's own function says v")


MEAN: Final = {"higher": "mean", "lower": "mean_cost"}
"""Which way is better → the metric."""

METRICS = (_mean(MEAN["higher"], "higher"), _mean(MEAN["lower"], "lower"))
