"""Models whose vocabularies are the same but for the order: candidates are the tokens of the first model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cuvee.generate.aligning import Place
from cuvee.generate.fusing import logs_of
from cuvee.generate.members import LanguageModel
from cuvee.generate.rows import Row, Taken


@dataclass(frozen=True, eq=False)
class Direct:
    """How models of one vocabulary write together.

    Attributes:
        members: the models.
        places: where the first model's tokens stand in each.
        temperatures: of each model.
    """

    members: tuple[LanguageModel, ...]
    places: tuple[Place, ...]
    temperatures: tuple[float, ...]

    @cached_property
    def ends(self) -> frozenset[int]:
        """The first model's tokens that end a text for any of the models."""
        found = set(self.members[0].vocabulary.ends)
        for member, index in zip(self.members, self._ids, strict=True):
            found |= {i for i, own in enumerate(index) if own in member.vocabulary.ends}
        return frozenset(found)

    @cached_property
    def _ids(self) -> tuple[list[int], ...]:
        absent = self.places[0].absent
        return tuple(one.index.masked_fill(absent, -1).tolist() for one in self.places)

    def candidates(self, logits: Sequence[Tensor], _rows: Sequence[Row]) -> tuple[Tensor, None]:
        """Log-probabilities of the first model's tokens, `[K, B, C]`; −∞ for tokens that not all models have."""
        device = logits[0].device
        return torch.stack(
            [
                logs_of(place.put(one), temperature).to(device)
                for place, one, temperature in zip(self.places, logits, self.temperatures, strict=True)
            ]
        ), None

    def taken(self, _table: None, _number: int, at: int) -> Taken:
        """A token of the first model."""
        return Taken(at, self.members[0].vocabulary.written[at] or b"", at in self.ends)

    def sequence(self, k: int, row: Row) -> list[int]:
        """The tokens of a prompt and what was written behind it, as model k numbers them."""
        ids = self._ids[k]
        return [*row.prompts[k].ids, *(ids[number] for number in row.ids)]
