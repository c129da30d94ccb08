"""What is minimised: means over rows, or over tokens, of functions of logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cuvee.coefficients.rows import Example


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to one length.

    Attributes:
        ids: token ids, `[rows, tokens]`.
        mask: 1 for tokens, 0 for padding.
        labels: number of the class of every row, `[rows]`, or `None`.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor | None


def padded(rows: list[Example], pad: int) -> Batch:
    """Rows as one batch, padded at their ends."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        mask[number, : len(row.ids)] = 1
    labels = [row.label for row in rows if row.label is not None]
    return Batch(ids, mask, torch.tensor(labels) if len(labels) == len(rows) else None)


def entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Mean Shannon entropy of the predictions, in nats: −Σ p log p (AdaMerging, section 3.2).

    Args:
        logits: `[rows, classes]`, or `[rows, tokens, vocabulary]`: then the mean is over tokens that are no padding.
        batch: what they answer.

    Returns:
        A number in [0, log classes].
    """
    logs = functional.log_softmax(_predictions(logits, batch), dim=-1)
    return -(logs.exp() * logs).sum(-1).mean()


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Mean of −log p(label) in nats; without classes, of the token that comes next, over the tokens that have one.

    Args:
        logits: `[rows, classes]`, or `[rows, tokens, vocabulary]`.
        batch: what they answer, with labels in the first case.
    """
    if logits.dim() == 2:
        assert batch.labels is not None
        return functional.cross_entropy(logits, batch.labels)
    known = batch.mask[:, 1:].bool()
    return functional.cross_entropy(logits[:, :-1][known], batch.ids[:, 1:][known])


def divergence(logits: Tensor, wanted: Tensor, batch: Batch) -> Tensor:
    """Mean Kullback-Leibler divergence KL(expert ‖ merged) = Σ q (log q − log p), in nats.

    Args:
        logits: the merged model's.
        wanted: the expert's, of the same shape.
        batch: what they answer.
    """
    logs, aims = (functional.log_softmax(_predictions(x, batch), dim=-1) for x in (logits, wanted))
    return (aims.exp() * (aims - logs)).sum(-1).mean()


def _predictions(logits: Tensor, batch: Batch) -> Tensor:
    """One row per prediction, `[n, classes]`."""
    return logits if logits.dim() == 2 else logits[batch.mask.bool()]
