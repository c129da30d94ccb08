"""Metrics: a score of answers."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from cuvee.judging.answers import Answers, Kind
from cuvee.types.scores import Direction, Score

_KNOWN: Final[dict[Kind, tuple[str, ...]]] = {
    "classification": ("accuracy", "log_loss"),
    "regression": ("mae",),
    "match": ("correct", "parsed"),
    "likelihood": ("bits_per_byte", "perplexity"),
    "retrieval": ("recall@1", "recall@5", "recall@10"),
}


def metrics_for(kind: Kind) -> tuple[str, ...]:
    """Names of the metrics of answers of a kind, the default one first."""
    return _KNOWN[kind]


def score_of(answers: Answers, metric: str) -> Score:
    """The score of answers by a metric."""
    c = answers.columns
    direction: Direction = "higher"
    if metric == "accuracy" and answers.kind == "classification":
        rows = (c["probabilities"].argmax(1) == c["truth"]).astype(float)
    elif metric == "log_loss":
        rows, direction = -np.log(c["probabilities"][np.arange(len(answers)), c["truth"]]), "lower"
    elif metric == "mae":
        rows, direction = np.abs(c["truth"] - c["predicted"]), "lower"
    elif metric in ("correct", "parsed"):
        rows = c[metric].astype(float)
    elif metric.startswith("recall@"):
        rows = (c["rank"] <= int(metric.partition("@")[2])).astype(float)
    else:
        total = float(c["nats"].sum())
        per = math.exp(total / c["tokens"].sum())
        value = per if metric == "perplexity" else total / math.log(2) / float(c["bytes"].sum())
        return Score(metric, value, math.nan, len(answers), "lower")
    n = len(answers)
    error = float(rows.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return Score(metric, float(rows.mean()), error, n, direction, tuple(rows.tolist()))
