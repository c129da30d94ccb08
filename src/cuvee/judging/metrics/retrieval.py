"""Whether the right item is found: recall among the first k, and the mean reciprocal rank."""

from __future__ import annotations

import numpy as np

from cuvee.judging.answers import Answers
from cuvee.judging.metrics.declared import Array, Mean, Metric


def recall_at(k: int) -> Metric:
    """The share of rows whose nearest right item is among the first k."""

    def found(answers: Answers) -> Array:
        return (answers.columns["rank"] <= k).astype(np.float64)

    return Metric(
        f"recall@{k}",
        ("retrieval",),
        "higher",
        Mean(found),
        f"1/n Σ [rank ≤ {k}]",
        "[0, 1]",
        "the share of queries with a right item among the first k, as with CLIP, arXiv:2103.00020",
    )


def _reciprocal(answers: Answers) -> Array:
    return 1.0 / answers.columns["rank"].astype(np.float64)


METRICS = (
    *map(recall_at, (1, 5, 10)),
    Metric(
        "mrr",
        ("retrieval",),
        "higher",
        Mean(_reciprocal),
        "1/n Σ 1 / rank",
        "(0, 1]",
        "mean reciprocal rank: Voorhees 1999, TREC-8",
    ),
)
