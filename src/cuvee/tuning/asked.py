"""What tuning is asked to do, and everything that is wrong with asking for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from cuvee.errors import Fault, integer_faults

Arithmetic = Literal["float32", "bfloat16"]

FULL_RATE: Final = 5e-5
LORA_RATE: Final = 2e-4
"""Learning rates where none is given: of all weights, and of low-rank factors, which start at nothing."""
_MOST_RATE: Final = 1e30
"""A larger one is no number in the float32 that weights are trained in."""
CHECKS: Final = 20
"""Checks on held-out rows in a run where nobody says how often."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How to tune.

    Attributes:
        steps: steps of AdamW, 1 or more.
        batch_size: rows of a step.
        learning_rate: the highest; `FULL_RATE` or `LORA_RATE` if not given.
        warm_up: steps in which the rate rises, less than `steps`; a twentieth of them if not given.
        weight_decay: AdamW's, on weights of two dimensions or more, ≥ 0.
        clip: most that the norm of the gradient may be, > 0.
        lora: rank of the low-rank change of every linear map; `None` changes the weights themselves.
        only: filters, of which a tensor must meet one to be changed; all are without any.
        holdout: share of the rows that are never trained on, [0, 1).
        check_every: steps between looks at the held-out rows.
        patience: looks without a gain after which tuning stops.
        max_length: most tokens of a row.
        seed: of the split, the order of rows, dropout and the low-rank factors.
        dtype: what forward and backward passes are worked out in; weights and their sums stay float32.
        device: torch's name of the device.
    """

    steps: int = 200
    batch_size: int = 16
    learning_rate: float | None = None
    warm_up: int | None = None
    weight_decay: float = 0.0
    clip: float = 1.0
    lora: int | None = None
    only: tuple[str, ...] = ()
    holdout: float = 0.1
    check_every: int | None = None
    patience: int = 5
    max_length: int = 512
    seed: int = 0
    dtype: Arithmetic = "float32"
    device: str = "cpu"

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or (FULL_RATE if self.lora is None else LORA_RATE)

    @property
    def warming(self) -> int:
        """Steps in which the rate rises."""
        return self.steps // 20 if self.warm_up is None else self.warm_up

    @property
    def between_checks(self) -> int:
        """Steps from one look at the held-out rows to the next."""
        return self.check_every or max(1, self.steps // CHECKS)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0: up to `rate` in equal parts, then down in equal parts, never 0.

        Example:
            >>> asked = Asked(steps=4, warm_up=1, learning_rate=3.0)
            >>> [asked.rate_at(step) for step in range(4)]
            [1.5, 3.0, 2.0, 1.0]
        """
        if step < self.warming:
            return self.rate * (step + 1) / (self.warming + 1)
        return self.rate * (self.steps - step) / (self.steps - self.warming)

    def settings(self) -> dict[str, Any]:
        """What the record says: all that the weights depend on, choices that were left open made."""
        made = {"learning_rate": self.rate, "warm_up": self.warming, "check_every": self.between_checks}
        return {**asdict(self), **made, "only": list(self.only), "device": self.device.partition(":")[0]}

    def faults(self) -> Iterator[Fault]:
        """What is wrong with it."""
        for name in ("steps", "batch_size", "patience"):
            yield from integer_faults(name, getattr(self, name), least=1)
        yield from integer_faults("max_length", self.max_length, least=2)
        for name in ("lora", "check_every"):
            if getattr(self, name) is not None:
                yield from integer_faults(name, getattr(self, name), least=1)
        yield from integer_faults("seed", self.seed)
        yield from self._warm_up_faults()
        if self.learning_rate is not None:
            yield from _number_faults("learning_rate", self.learning_rate, above=True, below=_MOST_RATE)
        yield from _number_faults("weight_decay", self.weight_decay)
        yield from _number_faults("clip", self.clip, above=True)
        yield from _number_faults("holdout", self.holdout, below=1.0)
        if self.dtype not in get_args(Arithmetic):
            message = f"`dtype` must be one of {', '.join(get_args(Arithmetic))}; found {self.dtype!r:.40}"
            yield Fault("bad-argument", message, subject="dtype", hint="the output keeps the dtypes of the input")
        yield from _filter_faults(self.only)

    def _warm_up_faults(self) -> Iterator[Fault]:
        if self.warm_up is None:
            return
        wrong = integer_faults("warm_up", self.warm_up, least=0)
        yield from wrong
        if not wrong and isinstance(self.steps, int) and self.warm_up >= self.steps > 0:
            message = f"`warm_up` must be less than the {self.steps} steps; found {self.warm_up}"
            yield Fault("bad-argument", message, subject="warm_up")


def _number_faults(name: str, value: object, *, above: bool = False, below: float = math.inf) -> Iterator[Fault]:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if good and (value > 0 if above else value >= 0) and value < below:  # type: ignore[operator]
        return
    wanted = f"{'above 0' if above else 'of 0 or more'}{'' if below == math.inf else f' and below {below:g}'}"
    yield Fault("bad-argument", f"`{name}` must be a number {wanted}; found {value!r:.40}", subject=name)


def _filter_faults(only: Sequence[object]) -> Iterator[Fault]:
    for one in only:
        if not isinstance(one, str) or not one.strip():
            message = f"a filter must be part of a tensor's name, a pattern, or `layers:4-7`; found {one!r:.60}"
            yield Fault("bad-argument", message, subject="only")
