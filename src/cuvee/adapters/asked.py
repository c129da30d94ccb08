"""What is asked of a merge of adapters: the method and its settings, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cuvee import methods
from cuvee.errors import Fault, UsageError, nearest

FACTORS: Final = ("cat", "svd", "knots", "core-space")
"""Methods that work on factors."""
PEFT: Final = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
"""PEFT's combination types that work on A and on B, which `peft-` stands before."""
AVERAGING: Final = ("cat", "svd", "linear", "task_arithmetic")
"""Weighted sums of the changes."""
_LOSSLESS: Final = ("cat", "knots", "core-space")


@dataclass(frozen=True, slots=True)
class Asked:
    """A merge of adapters.

    Attributes:
        method: one of `FACTORS`, a method of recipes that works on deltas, or `peft-` and one of `PEFT`.
        weights: one per adapter.
        inner: the method inside `knots` and `core-space`.
        settings: of the method, by Python name.
        rank: most singular values that are kept of each module.
        energy: share of Σ σ² that is kept.
        seed: of random masks.
    """

    method: str
    weights: tuple[float, ...]
    inner: str = "ties"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rank: int | None = None
    energy: float | None = None
    seed: int = 0

    @property
    def element_wise(self) -> str | None:
        """The method of `cuvee.methods` that is run, on ΔW or inside another."""
        if self.method in ("knots", "core-space"):
            return self.inner
        return None if self.method in FACTORS or self.method.startswith("peft-") else self.method

    @property
    def averages(self) -> bool:
        """Whether it is a weighted sum of the changes."""
        return self.method in AVERAGING

    @property
    def cuts(self) -> bool:
        """Whether a result of too high a rank is cut where nobody says to what."""
        return self.method not in _LOSSLESS and not self.method.startswith("peft-")


def known_methods() -> list[str]:
    """The names that `--method` takes."""
    return [
        *FACTORS,
        *(name for name, spec in methods.specs().items() if _fits(spec)),
        *(f"peft-{one}" for one in PEFT),
    ]


def check_asked(asked: Asked, adapters: int) -> None:
    """Refuse settings that make no sense.

    Raises:
        UsageError: all faults.
    """
    if faults := list(_faults(asked, adapters)):
        raise UsageError(faults)


def _fits(spec: Any) -> bool:
    """Whether a method can be run on the change of one module: it works on deltas, or is a weighted mean."""
    works = (spec.space == "delta" or spec.name == "linear") and spec.collected is None
    return works and spec.scope != "model" and spec.name not in FACTORS


def _faults(asked: Asked, adapters: int) -> Iterator[Fault]:
    if adapters < 1:
        yield Fault("bad-argument", "name one adapter or more", subject="adapters")
    known = known_methods()
    if asked.method not in known:
        hint = nearest(asked.method, known)
        yield Fault(
            "unknown-method", f"adapters have no merge method {asked.method!r:.60}", subject="method", hint=hint
        )
    if asked.method in ("knots", "core-space") and asked.inner not in known[len(FACTORS) : -len(PEFT)]:
        hint = nearest(asked.inner, known[len(FACTORS) : -len(PEFT)])
        yield Fault("unknown-method", f"`inner` cannot be {asked.inner!r:.60}", subject="inner", hint=hint)
    if len(asked.weights) != adapters or not all(map(math.isfinite, asked.weights)):
        message = f"`weights` must be {adapters} finite numbers, one per adapter; found {_said(asked.weights)}"
        yield Fault("bad-argument", message, subject="weights")
    elif asked.averages and asked.method != "linear" and not any(asked.weights):
        yield Fault("zero-weight-sum", "all weights are 0, so that nothing is left", subject="weights")
    yield from _size_faults(asked)


def _size_faults(asked: Asked) -> Iterator[Fault]:
    if asked.rank is not None and asked.energy is not None:
        yield Fault("bad-argument", "give `rank` or `energy`, not both", subject="rank")
    if asked.rank is not None and asked.rank < 1:
        yield Fault("bad-argument", f"`rank` must be 1 or more; found {asked.rank}", subject="rank")
    if asked.energy is not None and not 0 < asked.energy <= 1:
        yield Fault("bad-argument", f"`energy` must be above 0 and at most 1; found {asked.energy}", subject="energy")
    sized = asked.rank is not None or asked.energy is not None
    if sized and (asked.method == "cat" or asked.method.startswith("peft-")):
        message = f"{asked.method} has the rank that its arithmetic gives, and takes no `rank` and no `energy`"
        yield Fault("bad-argument", message, subject="rank", hint="use `svd`: the best approximation of that rank")


def _said(weights: Sequence[float]) -> str:
    return ", ".join(f"{one:g}" for one in weights) or "none"
