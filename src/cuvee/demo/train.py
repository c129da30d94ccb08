"""Training the demo's small models: a plain AdamW loop over batches drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuvee.demo.skills import PAD, WIDTH, Document

IGNORED = -100
"""Label of a position that is not to be predicted (torch's own default)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard to train.

    The learning rate at step s of S (from 0) is `rate · min(1, (s + 1) / warm_up) · max(0.02, 1 − s / S)`.
    """

    steps: int
    batch: int
    rate: float
    warm_up: int

    def rate_at(self, step: int) -> float:
        """The learning rate at a step, counted from 0."""
        return self.rate * min(1.0, (step + 1) / self.warm_up) * max(0.02, 1 - step / self.steps)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread per caller: models this small lose time to more, and the sums keep one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def collate(documents: Sequence[Document]) -> tuple[Tensor, Tensor]:
    """Token ids and labels of a batch, each `[documents, WIDTH]`; only answers are labelled, shifted by one place."""
    ids = torch.full((len(documents), WIDTH), PAD)
    labels = torch.full((len(documents), WIDTH), IGNORED)
    for row, document in enumerate(documents):
        tokens = torch.tensor(document.ids)
        ids[row, : len(tokens)] = tokens
        labels[row, document.start - 1 : len(tokens) - 1] = tokens[document.start :]
    return ids, labels


def train(
    model: Any,
    draw: Callable[[random.Random], Document],
    schedule: Schedule,
    seed: str,
    step_done: Callable[[int], None] | None = None,
) -> Any:
    """Train a causal language model in place on documents drawn one by one, and return it.

    Args:
        model: a `transformers` causal language model in float32.
        draw: makes one document from a random generator.
        schedule: steps, batch size and learning rate.
        seed: of the documents; the same seed gives the same weights.
        step_done: called after each step with the number of steps done.
    """
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    model.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(step)
        ids, labels = collate([draw(rng) for _ in range(schedule.batch)])
        _descend(model, optimizer, ids, labels)
        if step_done is not None:
            step_done(step + 1)
    model.eval()
    return model


def _descend(model: Any, optimizer: torch.optim.Optimizer, ids: Tensor, labels: Tensor) -> None:
    """One step down the gradient of the mean cross-entropy over the answers' tokens, its norm clipped at 1."""
    logits = model(input_ids=ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
