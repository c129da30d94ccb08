"""Models reading texts token by token while they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cuvee.generate.members import LanguageModel, refuse_nonsense
from cuvee.generate.rows import Row, Taken
from cuvee.generate.writer import Writer


class Way(Protocol):
    """How candidates of several models are compared by tokens: `Direct` or `Union`."""

    def candidates(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> tuple[Tensor, Any]:
        """What may be written behind each text."""
        ...

    def taken(self, table: Any, number: int, at: int) -> Taken:
        """A candidate of a row."""
        ...

    def sequence(self, k: int, row: Row) -> list[int]:
        """A prompt and what was written behind it as model k reads it."""
        ...


class TokenReading:
    """Texts while they are written token by token.

    Args:
        way: how candidates are compared.
        members: the models.
        cached: whether what they work out is kept.
    """

    def __init__(self, way: Way, members: Sequence[LanguageModel], *, cached: bool) -> None:
        self._way, self._members = way, members
        self._writers = [Writer(member.model, cached=cached, manners=member.manners) for member in members]
        self.dropped = 0.0

    def too_long(self, rows: Sequence[Row]) -> set[int]:
        """Rows that are longer than a model has positions for: a text may be more tokens for another tokenizer."""
        return {
            number
            for k, member in enumerate(self._members)
            for number, row in enumerate(rows)
            if member.limit is not None and not row.is_over and len(self._way.sequence(k, row)) > member.limit
        }

    def propose(self, rows: Sequence[Row]) -> tuple[Tensor, Any]:
        """Log-probabilities of what may come behind each text, `[K, B, C]`, and what the candidates are."""
        logits = [
            writer.next_logits([None if row.is_over else self._way.sequence(k, row) for row in rows])
            for k, writer in enumerate(self._writers)
        ]
        with torch.inference_mode():
            stack, table = self._way.candidates([plain(one) for one in logits], rows)
            alive = [number for number, row in enumerate(rows) if not row.is_over]
            for member, one in zip(self._members, stack, strict=True):
                refuse_nonsense(member, one[alive])
            return stack, table


def plain(logits: Tensor) -> Tensor:
    """Logits where float64 can be had."""
    return logits.cpu() if logits.device.type == "mps" else logits
