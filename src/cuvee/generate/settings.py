"""How the distributions of several models are made one: the space, the weights, and the gate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from cuvee.errors import Fault
from cuvee.generate.fusing import contrastive, entropy, log_pool, prob_mean

Space = Literal["prob", "log", "contrastive"]
Gate = Literal["disagree"] | float | None

SPACES: Final = ("prob", "log", "contrastive")
ALIGNS: Final = ("auto", "identical", "permuted", "topk_union", "byte")
ROLES: Final = ("base", "expert", "anti")
"""Models of contrastive arithmetic, in the order that a list has them in."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """What is made of K distributions.

    Attributes:
        space: `prob`: weighted mean; `log`: weighted mean of logarithms; `contrastive`: base + α (expert − anti).
        weights: one per model, sum 1; not used by `contrastive`.
        alpha: α of `contrastive`.
        plausible: of `contrastive`: candidates below this share of the base's likeliest are left out.
        gate: fuse only where the models' likeliest tokens are not all the same (`disagree`), or where the first
            model's entropy is at least so many nats; elsewhere the first model's distribution stands.
    """

    space: Space
    weights: tuple[float, ...]
    alpha: float = 1.0
    plausible: float | None = None
    gate: Gate = None

    def __call__(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """One distribution for each row.

        Where no candidate can be written by all, `log` and `contrastive` have nothing to choose from; there, too, the
        first model's distribution stands.

        Args:
            stack: log-probabilities `[K, B, C]`, without NaN.

        Returns:
            Log-probabilities `[B, C]`; and where models were fused, bool `[B]`.
        """
        fused = self._fused(stack)
        where = self._where(stack) & ~fused.isnan().any(-1)  # the softmax of nothing
        return torch.where(where[:, None], fused, stack[0]), where

    def _where(self, stack: Tensor) -> Tensor:
        if self.gate is None:
            return torch.ones(stack.shape[1], dtype=torch.bool, device=stack.device)
        if self.gate == "disagree":
            tops = stack.argmax(-1)
            return (tops != tops[0]).any(0)
        return entropy(stack[0]) >= self.gate

    def _fused(self, stack: Tensor) -> Tensor:
        if self.space == "contrastive":
            three = stack if len(stack) == 3 else stack[[0, 0, 1]]  # an expert and its amateur
            return contrastive(three, self.alpha, self.plausible)
        weights = torch.tensor(self.weights, dtype=torch.float64, device=stack.device)
        return prob_mean(stack, weights) if self.space == "prob" else log_pool(stack, weights)


def shares_of(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Weights divided by their sum; by the largest first, so that no sum is infinite."""
    given = [1.0] * count if weights is None else [weight / max(weights) for weight in weights]
    return tuple(one / math.fsum(given) for one in given)


def in_roles(models: Any, space: Space) -> Any:
    """The models of contrastive arithmetic in the order base, expert, anti, if they are given by role."""
    if space != "contrastive" or not isinstance(models, Mapping):
        return models
    return {role: models[role] for role in ROLES if role in models} | dict(models)


def setting_faults(count: int, given: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with the settings of an ensemble of `count` models."""
    yield from _choice("space", given["space"], SPACES)
    yield from _choice("align", given["align"], ALIGNS)
    if given["space"] == "contrastive":
        yield from _contrastive_faults(count, given)
    else:
        yield from _weight_faults(count, given["weights"])
        for name, plain in (("alpha", 1.0), ("plausible", None)):
            if given[name] != plain:
                message = f"`{name}` means something to contrastive arithmetic alone; `space` is {given['space']!r}"
                yield Fault("bad-argument", message, subject=name, hint="set space='contrastive', or leave it out")
    gate = given["gate"]
    if not (gate is None or gate == "disagree" or (_is_number(gate) and gate >= 0)):
        message = f"`gate` must be 'disagree', an entropy in nats (0 or more) or None; found {gate!r}"
        yield Fault("bad-argument", message, subject="gate")
    if isinstance(given["top"], bool) or not isinstance(given["top"], int) or given["top"] < 1:
        yield Fault("bad-argument", f"`top` must be an integer of at least 1; found {given['top']!r}", subject="top")
    yield from _temperature_faults(count, given["temperature"])


def _choice(name: str, value: object, allowed: Sequence[str]) -> Iterator[Fault]:
    if value not in allowed:
        yield Fault("bad-argument", f"`{name}` must be one of {', '.join(allowed)}; found {value!r}", subject=name)


def _contrastive_faults(count: int, given: Mapping[str, Any]) -> Iterator[Fault]:
    if count not in (2, 3):
        message = f"contrastive needs base, expert and anti-expert, or an expert and its amateur; found {count} models"
        hint = "give three models in this order (or by the names base, expert, anti), or two: expert, anti"
        yield Fault("wrong-number-of-models", message, subject="models", hint=hint)
    if given["weights"] is not None:
        message = "`weights` mean nothing to contrastive arithmetic"
        yield Fault("bad-weights", message, subject="weights", hint="set `alpha`")
    if not (_is_number(given["alpha"]) and math.isfinite(given["alpha"])):
        yield Fault("bad-argument", f"`alpha` must be a finite number; found {given['alpha']!r}", subject="alpha")
    share = given["plausible"]
    if share is not None and not (_is_number(share) and 0 < share <= 1):
        message = f"`plausible` must be above 0 and at most 1; found {share!r}"
        yield Fault("bad-argument", message, subject="plausible")


def _weight_faults(count: int, weights: Any) -> Iterator[Fault]:
    if weights is None:
        return
    found = list(weights) if isinstance(weights, Sequence) and not isinstance(weights, str) else []
    hint = "one number for each model, 0 or more, not all 0; they are divided by their sum"
    if len(found) != count:
        message = f"`weights` must be {count} numbers, one for each model; found {weights!r}"
        yield Fault("bad-weights", message, subject="weights", hint=hint)
    elif not all(_is_number(one) and math.isfinite(one) and one >= 0 for one in found) or not any(found):
        message = f"`weights` must be finite, 0 or more, and not all 0; found {weights!r}"
        yield Fault("bad-weights", message, subject="weights", hint=hint)


def _temperature_faults(count: int, temperature: Any) -> Iterator[Fault]:
    found = list(temperature) if isinstance(temperature, Sequence) else [temperature] * count
    if len(found) != count or not all(_is_number(one) and 0 < one < math.inf for one in found):
        message = f"`temperature` must be above 0, one for all {count} models or one for each; found {temperature!r}"
        yield Fault("bad-argument", message, subject="temperature")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
