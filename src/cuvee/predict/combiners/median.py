"""Median: the middle of what members say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cuvee.combine import Array, median
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Combiner, Fitted
from cuvee.predict.combiners.pooled import Pooled
from cuvee.predict.combiners.suited import check_probable


@dataclass(frozen=True, eq=False)
class Middle(Pooled):
    """The middle entries."""

    kind: ClassVar[str] = "median"

    def pool(self, P: Array, mask: Array) -> Array:
        """`combine.median`."""
        return median(P, mask)


@dataclass(frozen=True)
class Median(Combiner):
    """The median (`combine.median`): of classes entry by entry and made to sum to one, of values the middle one.

    A member that is far off moves it no more than one that is just on the same side. Where the middle of every class is
    0, as of three members that are sure of three classes, the mean stands in for it.
    """

    name: ClassVar[str] = "median"
    learns: ClassVar[bool] = False

    def fit(self, bank: Bank) -> Fitted:
        """Nothing is looked for.

        Raises:
            InputError: `wrong-member`: a member gives scores or embeddings; `no-member`.
        """
        check_probable(bank, self.name)
        return Middle(bank.members, bank.task == "classification")


COMBINERS.register("median", Median)
FITTED.register("median", Middle)
