"""How well a text is predicted: nats per token, perplexity, bits per byte. Ratios of sums over all rows."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from cuvee.judging.answers import Answers, Kind
from cuvee.judging.metrics.declared import Array, Metric, Ratio


def _per_token(answers: Answers) -> tuple[Array, Array]:
    return answers.columns["nats"].astype(np.float64), answers.columns["tokens"].astype(np.float64)


def _per_byte(answers: Answers) -> tuple[Array, Array]:
    return answers.columns["nats"].astype(np.float64) / math.log(2), answers.columns["bytes"].astype(np.float64)


_KIND: Final[tuple[Kind, ...]] = ("likelihood",)

METRICS = (
    Metric(
        "bits_per_byte",
        _KIND,
        "lower",
        Ratio(_per_byte),
        "Σ nats / (ln 2 · Σ bytes)",
        "[0, ∞)",
        "Gao et al. 2020, The Pile, arXiv:2101.00027, section 3.1; comparable between vocabularies",
        needs=("bytes",),
    ),
    Metric(
        "perplexity",
        _KIND,
        "lower",
        Ratio(_per_token, np.exp, math.exp),
        "exp(Σ nats / Σ tokens)",
        "[1, ∞)",
        "Jelinek et al. 1977; comparable between models of one vocabulary only",
        needs=("tokens",),
    ),
    Metric(
        "nats_per_token",
        _KIND,
        "lower",
        Ratio(_per_token),
        "Σ nats / Σ tokens",
        "[0, ∞)",
        "the logarithm of the perplexity",
        needs=("tokens",),
    ),
)
