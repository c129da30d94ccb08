"""Maximum: what any member holds possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cuvee.combine import Array, maximum
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Combiner, Fitted
from cuvee.predict.combiners.pooled import Pooled
from cuvee.predict.combiners.suited import check_probable


@dataclass(frozen=True, eq=False)
class Largest(Pooled):
    """The largest entries."""

    kind: ClassVar[str] = "maximum"

    def pool(self, P: Array, mask: Array) -> Array:
        """`combine.maximum`."""
        return maximum(P, mask)


@dataclass(frozen=True)
class Maximum(Combiner):
    """The maximum (`combine.maximum`): of classes entry by entry and made to sum to one, of values the largest."""

    name: ClassVar[str] = "maximum"
    learns: ClassVar[bool] = False

    def fit(self, bank: Bank) -> Fitted:
        """Nothing is looked for.

        Raises:
            InputError: `wrong-member`: a member gives scores or embeddings; `no-member`.
        """
        check_probable(bank, self.name)
        return Largest(bank.members, bank.task == "classification")


COMBINERS.register("maximum", Maximum)
FITTED.register("maximum", Largest)
