"""The steps: Adam on the coefficients, one batch of every data set at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from cuvee.coefficients.asked import Asked
from cuvee.coefficients.model import MergedModel
from cuvee.coefficients.objectives import Batch, cross_entropy, divergence, entropy, padded
from cuvee.coefficients.rows import Example, batches
from cuvee.errors import CheckFailed, Fault

LOOKED_AT: Final = 256
"""Rows of every data set over which the objective is measured before and after."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows ready for the model, by the name of whose they are, and the numbers of those experts."""

    name: str
    rows: Sequence[Example]
    experts: tuple[int, ...] = ()


@dataclass(slots=True)
class Coefficients:
    """What is learned.

    `linear`: weights are the softmax of `raw`, so that they are positive and sum to 1; `task_arithmetic`: `raw` itself.

    Attributes:
        raw: `[groups, K]`, float32.
        softmax: which of the two.
        log_beta: logarithm of the temperature β that logits are multiplied with, or `None`: it is not learned.
    """

    raw: Tensor
    softmax: bool
    log_beta: Tensor | None = None

    def weights(self) -> Tensor:
        """The models' weights, `[groups, K]`."""
        return self.raw.softmax(-1) if self.softmax else self.raw

    def beta(self) -> Tensor | float:
        """The temperature."""
        return 1.0 if self.log_beta is None else self.log_beta.exp()

    def leaves(self) -> list[Tensor]:
        """What Adam changes."""
        return [self.raw] if self.log_beta is None else [self.raw, self.log_beta]


def coefficients(starts: Sequence[Sequence[float]], *, softmax: bool, temperature: bool) -> Coefficients:
    """Coefficients that start at given weights.

    Args:
        starts: `[groups][K]`; above 0 for a softmax, which makes them sum to 1.
        softmax: whether weights are one.
        temperature: whether β is learned too; it starts at 1.
    """
    given = torch.tensor(starts, dtype=torch.float64)
    raw = (given / given.sum(-1, keepdim=True)).log() if softmax else given
    log_beta = torch.zeros((), requires_grad=True) if temperature else None
    return Coefficients(raw.to(torch.float32).requires_grad_(), softmax, log_beta)


@dataclass(slots=True)
class Curve:
    """How it went.

    Attributes:
        losses: the objective at every step, summed over data sets, before the step is taken.
        before, after: the objective by data set, over its first `LOOKED_AT` rows, at the start and at the end.
    """

    losses: list[float] = field(default_factory=list)
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)


def loss_of(
    model: MergedModel,
    merged: Mapping[str, Tensor],
    beta: Tensor | float,
    batch: Batch,
    experts: Sequence[int],
    asked: Asked,
) -> Tensor:
    """The objective on one batch."""
    logits = model.logits(merged, batch.ids, batch.mask) * beta
    if asked.objective == "entropy":
        return entropy(logits, batch)
    if asked.objective == "cross-entropy":
        return cross_entropy(logits, batch)
    with torch.no_grad():
        wanted = [model.logits(model.expert(k), batch.ids, batch.mask) for k in experts]
    return torch.stack([divergence(logits, one, batch) for one in wanted]).mean()


def learn(
    model: MergedModel,
    learned: Coefficients,
    data: Sequence[DataSet],
    asked: Asked,
    *,
    pad: int = 0,
    step_done: Callable[[int, int, str], None] | None = None,
) -> Curve:
    """Change the coefficients, in place, by steps of Adam (β 0.9 and 0.999, no weight decay).

    The loss of a step is the sum over data sets of the mean over a batch of each.

    Args:
        model: the merged model.
        learned: where to start; what is learned.
        data: the data sets.
        asked: how.
        pad: token id of padding.
        step_done: called with steps done, steps in all and the loss.

    Raises:
        CheckFailed: the loss is no finite number.
    """
    adam = torch.optim.Adam(learned.leaves(), lr=asked.rate)
    feeds = [batches(one.rows, asked.batch_size, f"{asked.seed}/{one.name}") for one in data]
    curve = Curve(before=measured(model, learned, data, asked, pad))
    for number in range(asked.steps):
        adam.zero_grad()
        pairs = [(padded(next(feed), pad), one.experts) for feed, one in zip(feeds, data, strict=True)]
        curve.losses.append(_backward(model, learned, pairs, asked))
        _check(curve.losses[-1], number, asked)
        adam.step()
        if step_done is not None:
            step_done(number + 1, asked.steps, f"loss {curve.losses[-1]:.4g}")
    if not bool(learned.weights().isfinite().all()):  # the last step's gradient may be none where its loss was one
        _check(float("nan"), asked.steps - 1, asked)
    curve.after = measured(model, learned, data, asked, pad)
    return curve


def _backward(
    model: MergedModel, learned: Coefficients, pairs: Sequence[tuple[Batch, tuple[int, ...]]], asked: Asked
) -> float:
    """Gradients of the loss of one step, and the loss.

    The parameters are merged once and cut off from how they were made: each batch adds to their gradients and lets its
    activations go, and one product with the models' deltas at the end makes gradients of coefficients of them.
    """
    merged = model.parameters(learned.weights())
    cut = {name: value.detach().requires_grad_() for name, value in merged.items()}
    total = 0.0
    for batch, experts in pairs:
        loss = loss_of(model, cut, learned.beta(), batch, experts, asked)
        torch.autograd.backward(loss)
        total += loss.item()
    used = [name for name, value in cut.items() if value.grad is not None]
    torch.autograd.backward([merged[n] for n in used], [cut[n].grad for n in used])
    return total


def _check(loss: float, number: int, asked: Asked) -> None:
    if not math.isfinite(loss):
        message = f"the loss should be a finite number; it is {loss} at step {number + 1} of {asked.steps}"
        hint = "start from smaller weights, or take a smaller --lr"
        raise CheckFailed(Fault("non-finite", message, subject="loss", hint=hint))


@torch.no_grad()
def measured(
    model: MergedModel, learned: Coefficients, data: Sequence[DataSet], asked: Asked, pad: int = 0
) -> dict[str, float]:
    """The objective of every data set over its first rows, β left at what it is."""
    merged = model.parameters(learned.weights())
    found = {}
    for one in data:
        rows = list(one.rows[:LOOKED_AT])
        edges = [*range(0, len(rows), asked.batch_size), len(rows)]
        parts = [rows[start:stop] for start, stop in pairwise(edges)]
        losses = [loss_of(model, merged, learned.beta(), padded(p, pad), one.experts, asked).item() for p in parts]
        found[one.name] = sum(x * len(p) for x, p in zip(losses, parts, strict=True)) / len(rows)
    return found


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Run torch on so many threads; as many as before afterwards."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
