"""The arithmetic of several next-token distributions made one, in float64.

    prob          p(x) = Σ_k w_k p_k(x)                                            linear opinion pool
    log           p(x) ∝ Π_k p_k(x)^{w_k}                                          log-opinion pool
    contrastive   p(x) ∝ exp( z_base(x) + α (z_expert(x) − z_anti(x)) )            DExperts, proxy-tuning

Weights sum to one. Every function takes logarithms of distributions `[K, B, C]` over the same C candidates, −∞ where a
candidate cannot be had, and gives the logarithm of one distribution, `[B, C]`. That contrastive arithmetic takes
log-probabilities for logits changes nothing: they differ by a number per model, which the normalisation takes out.

References:
    Liu et al. 2021, DExperts (arXiv:2105.03023), equation 2; Liu et al. 2024, Tuning Language Models by Proxy
    (arXiv:2401.08565), equation 1; Li et al. 2023, Contrastive Decoding (arXiv:2210.15097), equation 2: the mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def logs_of(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log softmax(z / T) along the last dimension, float64."""
    return torch.log_softmax(logits.double() / temperature, dim=-1)


def prob_mean(logs: Tensor, weights: Tensor) -> Tensor:
    """Log Σ_k w_k p_k.

    Args:
        logs: `[K, B, C]`.
        weights: `[K]`, ≥ 0, sum 1; a model of weight 0 counts for nothing, whatever it says.

    Example:
        >>> two = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]], dtype=torch.float64).log()
        >>> prob_mean(two, torch.tensor([0.5, 0.5])).exp()
        tensor([[0.3750, 0.6250]], dtype=torch.float64)
    """
    return torch.logsumexp(logs + weights.double().log()[:, None, None], dim=0)


def log_pool(logs: Tensor, weights: Tensor) -> Tensor:
    """Log of Π_k p_k^{w_k}, normalised; arguments as for `prob_mean`.

    Example:
        >>> two = torch.tensor([[[0.5, 0.5]], [[0.1, 0.9]]], dtype=torch.float64).log()
        >>> log_pool(two, torch.tensor([0.5, 0.5])).exp()
        tensor([[0.2500, 0.7500]], dtype=torch.float64)
    """
    counted = weights > 0  # 0 · −∞ is no number
    powers = logs[counted] * weights.double()[counted][:, None, None]
    return torch.log_softmax(powers.sum(0), dim=-1)


def contrastive(logs: Tensor, alpha: float, plausible: float | None = None) -> Tensor:
    """Log of what the base says, moved by what sets expert and anti-expert apart, normalised.

    Args:
        logs: `[3, B, C]`: base, expert, anti-expert.
        alpha: how far; 0 is the base alone.
        plausible: keep only candidates with p_base(x) ≥ plausible · max p_base, (0, 1]; all without it.

    Example:
        >>> three = torch.tensor([[[0.5, 0.5]], [[0.75, 0.25]], [[0.25, 0.75]]], dtype=torch.float64).log()
        >>> contrastive(three, 1.0).exp()
        tensor([[0.9000, 0.1000]], dtype=torch.float64)
    """
    base, expert, anti = logs
    moved = base + alpha * (expert - anti)
    left_out = torch.isneginf(logs).any(0)  # what one of them cannot write is not infinitely far from the others
    if plausible is not None:
        left_out = left_out | (base < base.amax(-1, keepdim=True) + math.log(plausible))
    return torch.log_softmax(moved.masked_fill(left_out, -math.inf), dim=-1)


def entropy(logs: Tensor) -> Tensor:
    """−Σ p log p in nats, `[…, C]` → `[…]`."""
    return -torch.where(torch.isneginf(logs), torch.zeros_like(logs), logs.exp() * logs).sum(-1)
