"""Trimmed mean: the mean without the smallest and the largest entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cuvee.combine import Array, trimmed_mean
from cuvee.errors import refuse
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Combiner, Fitted
from cuvee.predict.combiners.pooled import Pooled
from cuvee.predict.combiners.suited import check_probable, number_faults


@dataclass(frozen=True, eq=False)
class Trimmed(Pooled):
    """The mean of the entries in the middle.

    Attributes:
        cut: share taken off at each end.
    """

    kind: ClassVar[str] = "trimmed-mean"
    cut: float

    def pool(self, P: Array, mask: Array) -> Array:
        """`combine.trimmed_mean`."""
        return trimmed_mean(P, mask, self.cut)


@dataclass(frozen=True)
class TrimmedMean(Combiner):
    """The trimmed mean (`combine.trimmed_mean`): of classes entry by entry and made to sum to one.

    Args:
        cut: share of the members taken off at each end, [0, ½); with fewer than 1 / cut members it is the mean.

    Raises:
        UsageError: `bad-argument`.
    """

    name: ClassVar[str] = "trimmed-mean"
    learns: ClassVar[bool] = False
    cut: float = 0.2

    def __post_init__(self) -> None:
        refuse(number_faults("cut", self.cut, lambda cut: 0 <= cut < 0.5, "at least 0 and below 0.5"))

    def fit(self, bank: Bank) -> Fitted:
        """Nothing is looked for.

        Raises:
            InputError: `wrong-member`: a member gives scores or embeddings; `no-member`.
        """
        check_probable(bank, self.name)
        return Trimmed(bank.members, bank.task == "classification", self.cut)


COMBINERS.register("trimmed-mean", TrimmedMean)
FITTED.register("trimmed-mean", Trimmed)
