"""Diagonal Fishers: for every entry of every tensor, the mean square of the gradient of the log-likelihood.

    F_θ = (1 / samples) Σ (∂ log p(y | x) / ∂θ)²

x is a sample and y what the model predicts of it: all next tokens, all masked tokens, or the class; log p is their sum.
The gradient is squared sample by sample: the square of a mean over a batch is another, smaller thing. With labels drawn
from the model's own p(· | x) this estimates the Fisher information (Matena and Raffel, arXiv:2111.09832, eq. 4 and 5);
with the data's own it is what is called the empirical Fisher (Kunstner et al., arXiv:1905.12558).

Gradients are float32, as the model is run; squares and sums are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from cuvee.collecting.gram import forward
from cuvee.collecting.samples import Batch, Sample, generator_for
from cuvee.families.running import Running

Labels = Literal["data", "model"]
LABELS: Final[tuple[Labels, ...]] = get_args(Labels)


def gather(
    running: Running,
    samples: Iterable[Sample],
    *,
    labels: Labels,
    seed: int,
    after: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """The sums of squared gradients of all parameters that the likelihood depends on.

    Args:
        running: the model; its head is one that predicts.
        samples: run one by one, so that there is no padding.
        labels: where what is predicted comes from.
        seed: of labels drawn from the model.
        after: told that one sample more is done.

    Returns:
        Name in memory → sums in float64, of the parameter's shape.
    """
    parameters = dict(running.model.named_parameters())
    found: dict[str, Tensor] = {}
    for sample in samples:
        likelihood = log_likelihood(running, sample, labels, seed)
        gradients = torch.autograd.grad(likelihood, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total = found.setdefault(name, torch.zeros(gradient.shape, dtype=torch.float64))
                total += gradient.double().square()
        if after is not None:
            after(1)
    return found


def log_likelihood(running: Running, sample: Sample, labels: Labels, seed: int) -> Tensor:
    """The log-likelihood log p(y | x) of one sample, a tensor of no dimensions."""
    ids = torch.tensor([sample.ids])
    logits = forward(running, Batch(ids, torch.ones_like(ids, dtype=torch.bool))).logits[0].float()
    spoken = torch.log_softmax(_predicting(logits, running, sample), dim=-1)
    if labels == "data":
        answers = _given(running, sample)
    else:
        # other numbers than those that chose the masks
        answers = torch.multinomial(spoken.detach().exp(), 1, generator=generator_for(seed + 1, sample.index))[:, 0]
    return spoken.gather(1, answers[:, None]).sum()


def _predicting(logits: Tensor, running: Running, sample: Sample) -> Tensor:
    """The rows of the logits that predict something, `[predictions, classes]`."""
    if running.head == "causal-lm":
        return logits[:-1]
    if running.head == "masked-lm":
        return logits[[at for at, _ in sample.targets]]
    return logits[None]


def _given(running: Running, sample: Sample) -> Tensor:
    """What the data say should be predicted, `[predictions]`."""
    if running.head == "causal-lm":
        return torch.tensor(sample.ids[1:])
    if running.head == "masked-lm":
        return torch.tensor([token for _, token in sample.targets])
    return torch.tensor([sample.label])
