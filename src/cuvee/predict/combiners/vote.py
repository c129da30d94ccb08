"""Votes: hard and soft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, Combiner, Fitted, Linear


@dataclass(frozen=True)
class Soft(Combiner):
    """Soft vote: the mean of what members say, all counting the same (`combine.weighted_mean`)."""

    name: ClassVar[str] = "soft"
    learns: ClassVar[bool] = False

    def fit(self, bank: Bank) -> Fitted:
        """Nothing is looked for."""
        return Linear(bank.members, np.full(len(bank.members), 1 / len(bank.members)))


COMBINERS.register("soft", Soft)
