"""Rank mean: members of any scale, made comparable by a reference sample that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from cuvee.combine import Array, rank_mean, reference_of
from cuvee.errors import Fault, InputError, integer_faults, refuse
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Fitted, check_unseen
from cuvee.predict.combiners.suited import check_classes, check_members

LEAST: Final = 2
"""Rows that a reference needs: with one there is only above and below."""


@dataclass(frozen=True, eq=False)
class Ranked(Fitted):
    """A rank mean.

    Attributes:
        reference: `[M, K, R]`, what each member said of each class in the reference sample, ascending, NaN at the end.
    """

    kind: ClassVar[str] = "ranked"
    reference: Array

    def apply(self, batch: Batch) -> Array:
        """`combine.rank_mean`: the mean of the ranks in the reference, rows that sum to one."""
        return rank_mean(batch.P, batch.mask, self.reference)

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Members; the reference as an array."""
        return {"members": list(self.members)}, {"reference": self.reference}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Ranked:
        """What `told` told."""
        return cls(tuple(said["members"]), np.asarray(arrays["reference"], np.float64))


@dataclass(frozen=True)
class RankMean(Combiner):
    """The mean of ranks (`combine.rank_mean`): classes only, from probabilities or scores of any scale.

    Ranks are taken in the predictions of the bank, of which at most `size` values per member and class are kept; a row
    is ranked by itself, whatever it comes with. What comes out is an order, not calibrated probabilities: with classes
    of very different frequency the most frequent one is not favoured as it is by probabilities.

    Args:
        size: most values kept of a member and a class, ≥ 2.
        allow_in_sample: take members whose predictions are in-sample.

    Raises:
        UsageError: `bad-argument`.
    """

    name: ClassVar[str] = "rank-mean"
    learns: ClassVar[bool] = True
    size: int = 1000
    allow_in_sample: bool = False

    def __post_init__(self) -> None:
        refuse(integer_faults("size", self.size, least=LEAST))

    def fit(self, bank: Bank) -> Fitted:
        """Keep the reference; the truth is not looked at.

        Raises:
            InputError: `in-sample`: such predictions lie higher than those on new rows; `too-few-rows`; `no-member`;
                `wrong-member`.
            UsageError: `bad-argument`: a regression.
        """
        check_classes(bank, self.name, "use `median` or `trimmed-mean`")
        check_members(bank)
        check_unseen(bank, allow_in_sample=self.allow_in_sample)
        if short := [(name, n) for name, n in zip(bank.members, bank.mask.sum(axis=1)) if n < LEAST]:
            said = "a reference needs at least {} rows; the member {!r} has predicted {}"
            raise InputError([Fault("too-few-rows", said.format(LEAST, name, n), subject=name) for name, n in short])
        return Ranked(bank.members, reference_of(bank.P, bank.mask, self.size))


COMBINERS.register("rank-mean", RankMean)
FITTED.register("ranked", Ranked)
