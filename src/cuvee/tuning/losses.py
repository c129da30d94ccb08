"""The loss of every row: negative log-likelihoods of the next tokens, or of the row's class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cuvee.data.rows import NO_TARGET
from cuvee.tuning.rows import Example


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded at their ends to one length.

    Attributes:
        ids: token ids, `[rows, tokens]`.
        mask: 1 for tokens and 0 for padding, whatever token that is.
        wanted: of classifiers the class, `[rows]`; else what should follow every token but the last, `[rows,
            tokens - 1]`, with `NO_TARGET` where nothing is asked.
    """

    ids: Tensor
    mask: Tensor
    wanted: Tensor


def padded(rows: Sequence[Example], pad: int, device: str = "cpu") -> Batch:
    """Rows as one batch."""
    longest = max(len(row.ids) for row in rows)
    ids = [[*row.ids, *[pad] * (longest - len(row.ids))] for row in rows]
    mask = [[int(i < len(row.ids)) for i in range(longest)] for row in rows]
    wanted: list[Any] = [row.label for row in rows]
    if rows[0].label is None:
        wanted = [[*row.targets, *[NO_TARGET] * (longest - 1 - len(row.targets))] for row in rows]
    return Batch(*(torch.tensor(one, device=device) for one in (ids, mask, wanted)))


def row_losses(model: Any, batch: Batch, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Summed negative log-likelihood of every row in nats, `[rows]`, and how many predictions it sums, `[rows]`.

    Args:
        model: a causal language model, or a classifier.
        batch: the rows.
        dtype: what the model is run in; losses are worked out in float32.
    """
    is_lm = batch.wanted.dim() == 2
    with torch.autocast(batch.ids.device.type, dtype, enabled=dtype != torch.float32):
        more = {"use_cache": False} if is_lm else {}
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, **more).logits.float()
    if not is_lm:
        return functional.cross_entropy(logits, batch.wanted, reduction="none"), torch.ones_like(batch.wanted)
    logits = logits[:, :-1].transpose(1, 2)
    losses = functional.cross_entropy(logits, batch.wanted, ignore_index=NO_TARGET, reduction="none")
    return losses.sum(1), (batch.wanted != NO_TARGET).sum(1)


def batch_loss(model: Any, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """The mean over all predictions of a batch, which is what a step goes down on."""
    sums, counts = row_losses(model, batch, dtype)
    return sums.sum() / counts.sum()


@dataclass(frozen=True, slots=True)
class Measured:
    """The loss on rows.

    Attributes:
        sums: negative log-likelihood of every row, in nats.
        counts: predictions of every row.
    """

    sums: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def loss(self) -> float:
        """Mean per prediction, Σ sᵢ / Σ nᵢ."""
        return math.fsum(self.sums) / sum(self.counts)

    @property
    def stderr(self) -> float:
        """Standard error of the mean over rows."""
        return ratio_error(self.sums, self.counts)


def ratio_error(sums: Sequence[float], counts: Sequence[int]) -> float:
    """Standard error of Σ sᵢ / Σ nᵢ over rows that were drawn: √(r / (r − 1) · Σ (sᵢ − R nᵢ)²) / Σ nᵢ, R the ratio.

    Example:
        >>> ratio_error([1.0, 3.0], [1, 1])
        1.0
    """
    rows, total = len(sums), sum(counts)
    ratio = math.fsum(sums) / total
    spread = math.fsum((s - ratio * n) ** 2 for s, n in zip(sums, counts, strict=True))
    return math.sqrt(rows / (rows - 1) * spread) / total


@torch.no_grad()
def measured(model: Any, rows: Sequence[Example], *, size: int, pad: int, dtype: torch.dtype, device: str) -> Measured:
    """The loss of every row, without dropout; rows of like length are run together."""
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i))
    sums, counts = [0.0] * len(rows), [0] * len(rows)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), size):
            part = order[start : start + size]
            found = row_losses(model, padded([rows[i] for i in part], pad, device), dtype)
            for i, loss, count in zip(part, *(one.tolist() for one in found), strict=True):
                sums[i], counts[i] = loss, count
    finally:
        model.train(was_training)
    return Measured(tuple(sums), tuple(counts))
