"""The steps: AdamW on batches, looks at held-out rows, and the best state kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuvee.errors import CheckFailed, Fault
from cuvee.families.inputs import padding_token
from cuvee.tuning.asked import Asked
from cuvee.tuning.learner import Learner
from cuvee.tuning.losses import Measured, batch_loss, measured, padded
from cuvee.tuning.rows import Example, Split, batches

Told = Callable[[int, int, str], None]
"""Called with steps done, steps in all and a text."""


@dataclass(frozen=True, slots=True)
class Check:
    """A look at the held-out rows: after how many steps, and the loss with its standard error over rows."""

    step: int
    loss: float
    stderr: float


@dataclass(frozen=True, slots=True)
class Course:
    """How it went.

    Attributes:
        losses: the loss of every step's batch, before the step is taken.
        checks: what was seen of the held-out rows, the start first; empty where none are held out.
        before, after: the losses of the held-out rows at the start and in the state that is kept.
        kept: the step after which the state was kept; 0 is the model as it was.
        stopped: whether it ended before its last step, because nothing was gained for long.
        best: name in memory → weight as it is to be written, in the dtype on disk; `None` for the model as it was.
    """

    losses: tuple[float, ...]
    checks: tuple[Check, ...]
    before: Measured | None
    after: Measured | None
    kept: int
    stopped: bool
    best: Mapping[str, Tensor] | None


class _Watch:
    """The held-out rows: what the model would be worth if it were written now, and the best of those states.

    Weights are rounded to their dtypes on disk before the model is asked, so that what is compared is what is written;
    a state that is not better than the one kept, or has a loss that is no number, is let go.
    """

    def __init__(self, look: Callable[[], Measured], learner: Learner, dtypes: Mapping[str, torch.dtype]) -> None:
        self._look, self._learner, self._dtypes = look, learner, dtypes
        self.best: Mapping[str, Tensor] | None = None
        self.before = self.after = look()
        _check(self.before.loss, "the loss of the held-out rows, before the first step")
        self.checks = [Check(0, self.before.loss, self.before.stderr)]
        self.kept = self.idle = 0

    def check(self, step: int) -> None:
        """Look at the state after a step."""
        values = as_written(self._learner, self._dtypes)
        with self._learner.standing(values):
            found = self._look()
        self.checks.append(Check(step, found.loss, found.stderr))
        self.idle += 1
        if found.loss < self.after.loss and _finite(values):
            self.best, self.after, self.kept, self.idle = values, found, step, 0


def as_written(learner: Learner, dtypes: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """The weights rounded once to their dtypes on disk, in memory of their own and on the CPU."""
    return {name: value.to("cpu", dtypes[name], copy=True) for name, value in learner.values().items()}


def descend(
    model: Any, learner: Learner, rows: Split, asked: Asked, dtypes: Mapping[str, torch.dtype], told: Told | None = None
) -> Course:
    """Take the steps.

    Dropout is what the model's configuration says, and is off on held-out rows. Global random numbers of torch are
    those of the seed meanwhile, and what they were afterwards.

    Args:
        model: the model.
        learner: what is trained of it.
        rows: to train on, and to look at.
        asked: how.
        dtypes: what trained weights are rounded to, by name in memory.
        told: told of every step.

    Raises:
        CheckFailed: `non-finite`: the loss or its gradient is no number, at which step.
    """
    pad = padding_token(model.config) or 0
    way: dict[str, Any] = {"dtype": getattr(torch, asked.dtype), "device": asked.device}
    watch = None
    if rows.held:
        look = lambda: measured(model, rows.held, size=asked.batch_size, pad=pad, **way)  # noqa: E731
        watch = _Watch(look, learner, dtypes)
    losses = _steps(model, learner, rows.training, asked, pad, watch, told)
    stopped = len(losses) < asked.steps
    if watch is None:
        best = as_written(learner, dtypes)
        if not _finite(best):
            _check(math.nan, "a weight, after the last step,")
        return Course(tuple(losses), (), None, None, asked.steps, stopped, best)
    return Course(tuple(losses), tuple(watch.checks), watch.before, watch.after, watch.kept, stopped, watch.best)


def _steps(
    model: Any,
    learner: Learner,
    rows: Sequence[Example],
    asked: Asked,
    pad: int,
    watch: _Watch | None,
    told: Told | None,
) -> list[float]:
    optimiser = optimiser_of(learner, asked)
    losses: list[float] = []
    model.train()
    for step, batch in zip(range(asked.steps), batches(rows, asked.batch_size, asked.seed)):
        losses.append(_step(model, learner, optimiser, batch, step, asked, pad))
        if watch is not None and ((step + 1) % asked.between_checks == 0 or step + 1 == asked.steps):
            watch.check(step + 1)
        if told is not None:
            held = "" if watch is None else f", held out {watch.checks[-1].loss:.4g}"
            told(step + 1, asked.steps, f"loss {losses[-1]:.4g}{held}")
        if watch is not None and watch.idle >= asked.patience:
            break
    model.eval()
    return losses


def optimiser_of(learner: Learner, asked: Asked) -> torch.optim.AdamW:
    """AdamW, β 0.9 and 0.999; biases and norms are not drawn to 0."""
    flat = [leaf for leaf in learner.leaves if leaf.dim() < 2]
    rest = [leaf for leaf in learner.leaves if leaf.dim() >= 2]
    groups = [{"params": rest, "weight_decay": asked.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=asked.rate, betas=(0.9, 0.999))


def _step(
    model: Any,
    learner: Learner,
    optimiser: torch.optim.AdamW,
    rows: Sequence[Example],
    step: int,
    asked: Asked,
    pad: int,
) -> float:
    """One step down the gradient of a batch's loss, its norm cut to `clip`; gives the loss before it."""
    for group in optimiser.param_groups:
        group["lr"] = asked.rate_at(step)
    optimiser.zero_grad()
    loss = batch_loss(model, padded(rows, pad, asked.device), getattr(torch, asked.dtype))
    _check(loss.item(), f"the loss of step {step + 1} of {asked.steps}")
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(learner.leaves, asked.clip)
    _check(norm.item(), f"the gradient of step {step + 1} of {asked.steps}")
    optimiser.step()
    return loss.item()


def _check(found: float, what: str) -> None:
    if not math.isfinite(found):
        message = f"{what} should be a finite number; it is {found}"
        hint = "take a smaller --learning-rate or a longer --warm-up; `cuvee verify` tells whether the model is finite"
        raise CheckFailed(Fault("non-finite", message, subject="loss", hint=hint))


def _finite(values: Mapping[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in values.values())
