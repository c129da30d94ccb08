"""Minimum: what all members hold possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cuvee.combine import Array, minimum
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Combiner, Fitted
from cuvee.predict.combiners.pooled import Pooled
from cuvee.predict.combiners.suited import check_probable


@dataclass(frozen=True, eq=False)
class Smallest(Pooled):
    """The smallest entries."""

    kind: ClassVar[str] = "minimum"

    def pool(self, P: Array, mask: Array) -> Array:
        """`combine.minimum`."""
        return minimum(P, mask)


@dataclass(frozen=True)
class Minimum(Combiner):
    """The minimum (`combine.minimum`): of classes entry by entry and made to sum to one, of values the smallest.

    Where some member gives 0 to every class, the mean stands in for it.
    """

    name: ClassVar[str] = "minimum"
    learns: ClassVar[bool] = False

    def fit(self, bank: Bank) -> Fitted:
        """Nothing is looked for.

        Raises:
            InputError: `wrong-member`: a member gives scores or embeddings; `no-member`.
        """
        check_probable(bank, self.name)
        return Smallest(bank.members, bank.task == "classification")


COMBINERS.register("minimum", Minimum)
FITTED.register("minimum", Smallest)
