"""Judging the demo's models: exact match of whole answers, with standard errors, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cuvee.demo.skills import Document
from cuvee.demo.train import IGNORED, collate

Hits = Mapping[str, tuple[bool, ...]]
"""For each skill, whether each of its items was answered exactly; the items stand in the same order for every model."""

ROWS = 400
"""Items per forward pass."""


def exact(model: Any, documents: Sequence[Document]) -> tuple[bool, ...]:
    """Whether the model would write each answer exactly, `<eos>` included, by always taking the likeliest token.

    All tokens of an answer are predicted in one pass from the right tokens before them. An answer counts when every
    token is right, and then generating token by token would have seen the very same tokens: the two are the same test.
    """
    found: list[bool] = []
    for start in range(0, len(documents), ROWS):
        ids, labels = collate(documents[start : start + ROWS])
        with torch.inference_mode():
            guesses = model(input_ids=ids, use_cache=False).logits.argmax(-1)
        found += ((guesses == labels) | (labels == IGNORED)).all(-1).tolist()
    return tuple(found)


def judge(model: Any, exam: Mapping[str, Sequence[Document]]) -> dict[str, tuple[bool, ...]]:
    """The model's hits on every skill of an exam."""
    return {word: exact(model, documents) for word, documents in exam.items()}


def share(hits: Sequence[bool]) -> float:
    """Exact match p, in [0, 1]."""
    return sum(hits) / len(hits)


def stderr(hits: Sequence[bool]) -> float:
    """Standard error of the exact match, `sqrt(p(1 − p)/n)`."""
    p = share(hits)
    return math.sqrt(p * (1 - p) / len(hits))


def mean(hits: Hits) -> float:
    """Exact match averaged over the skills, each counting the same."""
    return sum(map(share, hits.values())) / len(hits)


def mean_stderr(hits: Hits) -> float:
    """Standard error of the mean over K skills, `sqrt(Σ stderr²)/K`: the skills' items are drawn independently."""
    return math.sqrt(sum(stderr(h) ** 2 for h in hits.values())) / len(hits)


def difference(ours: Hits, theirs: Hits) -> tuple[float, float]:
    """How much better `ours` is on the mean over skills, and the standard error of that difference.

    The two were asked the same items, so the error is that of the item-wise differences d ∈ {−1, 0, 1}:
    `sqrt(Σ_skills (mean(d²) − mean(d)²)/n)/K`. It is smaller than that of two unrelated draws.
    """
    total = variance = 0.0
    for word, mine in ours.items():
        gaps = [int(a) - int(b) for a, b in zip(mine, theirs[word], strict=True)]
        gap = sum(gaps) / len(gaps)
        total += gap
        variance += (sum(g * g for g in gaps) / len(gaps) - gap**2) / len(gaps)
    return total / len(ours), math.sqrt(max(0.0, variance)) / len(ours)
