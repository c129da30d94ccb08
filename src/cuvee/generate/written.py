"""What was written, and what every model had to do with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Reason = Literal["end", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Written:
    """One text.

    Attributes:
        text: what was written behind the prompt, exactly as it goes on: a space at its beginning is part of it. A stop
            string, and what stands behind it, is not.
        ids: tokens that were accepted, the end among them; the first model's. Without ids (`topk_union`): empty.
        pieces: the bytes of each accepted token, none for special ones.
        logs: log-probability of each accepted token in the fused distribution, before temperature, top-k and top-p.
        entropies: of the fused distribution at each place, nats.
        fused: whether models were fused there, or the gate left it to the first.
        agreed: model → at how many places the accepted token was the likeliest of its own.
        reason: `end`: an end token; `stop`: a stop string; `length`: as many tokens as were allowed.
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[bytes, ...]
    logs: tuple[float, ...]
    entropies: tuple[float, ...]
    fused: tuple[bool, ...]
    agreed: Mapping[str, int]
    reason: Reason

    def __len__(self) -> int:
        return len(self.logs)

    @property
    def mean_log(self) -> float:
        """Mean log-probability per token; NaN of no tokens."""
        return math.fsum(self.logs) / len(self.logs) if self.logs else math.nan

    @property
    def fused_share(self) -> float:
        """Share of tokens at which models were fused; NaN of no tokens."""
        return sum(self.fused) / len(self.fused) if self.fused else math.nan


@dataclass(frozen=True, slots=True)
class Generated(Sequence[Written]):
    """The texts of a call, one for each prompt (and sample: those of a prompt stand together).

    Attributes:
        texts: of `Written`, in order.
        align: how vocabularies were compared.
        seconds: of writing all of them.
        notes: what one should know about how prompts were read.
    """

    written: tuple[Written, ...]
    align: str
    seconds: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.written)

    def __getitem__(self, at: int) -> Written:  # type: ignore[override]
        return self.written[at]

    def __iter__(self) -> Iterator[Written]:
        return iter(self.written)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts alone."""
        return tuple(one.text for one in self.written)

    @property
    def tokens(self) -> int:
        """Tokens that were accepted."""
        return sum(map(len, self.written))

    @property
    def fused_share(self) -> float:
        """Share of all tokens at which models were fused."""
        return sum(sum(one.fused) for one in self.written) / self.tokens if self.tokens else math.nan

    @property
    def agreement(self) -> dict[str, float]:
        """Model → share of all tokens that were its own likeliest."""
        names = self.written[0].agreed if self.written else {}
        return {name: sum(one.agreed[name] for one in self.written) / max(self.tokens, 1) for name in names}

    @property
    def tokens_per_second(self) -> float:
        """Accepted tokens per second, of all texts together."""
        return self.tokens / self.seconds if self.seconds > 0 else math.inf
