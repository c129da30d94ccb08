"""Soft vote: the mean of what members say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cuvee.combine import Array, Weights, checked_weights
from cuvee.errors import refuse
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, Combiner, Fitted, Linear
from cuvee.predict.combiners.given import frozen_weights, given_faults
from cuvee.predict.combiners.suited import check_probable


@dataclass(frozen=True)
class Soft(Combiner):
    """Soft vote: the weighted mean of what members say (`combine.weighted_mean`); of a regression the mean.

    Args:
        weights: one for each member, ≥ 0, in their order or by name; all count the same without them.

    Raises:
        UsageError: `bad-weights`.
    """

    name: ClassVar[str] = "soft"
    learns: ClassVar[bool] = False
    weights: Weights | None = None

    def __post_init__(self) -> None:
        refuse(given_faults(self.weights))
        object.__setattr__(self, "weights", frozen_weights(self.weights))

    def fit(self, bank: Bank) -> Fitted:
        """Nothing is looked for.

        Raises:
            InputError: `wrong-member`: a member gives scores or embeddings; `no-member`.
            UsageError: `bad-weights`: they do not fit the members.
        """
        check_probable(bank, self.name)
        return Linear(bank.members, shares_given(self.weights, bank.members))


def shares_given(weights: Weights | None, members: tuple[str, ...]) -> Array:
    """The weights as shares; the same for all without them."""
    return np.full(len(members), 1 / len(members)) if weights is None else checked_weights(weights, members)


COMBINERS.register("soft", Soft)
