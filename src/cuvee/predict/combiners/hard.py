"""Hard vote: every member votes for a class; an explicit rule settles ties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, cast

import numpy as np

from cuvee.combine import Array, Weights, class_prior, hard_vote, refuse_ties, settled, tied, weighted_mean
from cuvee.errors import Fault, InputError, refuse
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Fitted, check_honest
from cuvee.predict.combiners.given import frozen_weights, given_faults
from cuvee.predict.combiners.suited import check_classes, check_members, check_probable, choice_faults
from cuvee.predict.combiners.vote import shares_given

Tie = Literal["prior", "confidence", "error"]
"""How a tied vote is settled: the class that is more frequent in the bank's truth; the class to which the members give
more on average; or not at all, with an error that names the row."""

TIES: Final[tuple[Tie, ...]] = ("prior", "confidence", "error")


@dataclass(frozen=True, eq=False)
class Voted(Fitted):
    """A vote.

    Attributes:
        share: `[M]`, the share of each member's vote, ≥ 0, sum one.
        tie: how ties are settled.
        prior: `[K]` for `prior`.
        probable: whether all members give probabilities, which can be averaged where a tie is left.
        about: what the fit found besides, as JSON can say it.
    """

    kind: ClassVar[str] = "voted"
    share: Array
    tie: Tie = "confidence"
    prior: Array | None = None
    probable: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> tuple[str, ...]:
        """Members whose vote counts."""
        return tuple(name for name, share in zip(self.members, self.share) if share > 0)

    def apply(self, batch: Batch) -> Array:
        """Shares of votes, `[N, K]`; the winner of a tie is ahead by a millionth.

        Raises:
            InputError: `no-member`; `tied-vote` where ties are refused.
        """
        shares = hard_vote(batch.P, batch.mask, self.share)
        if self.tie == "error":
            refuse_ties(shares)
            return shares
        rows = np.flatnonzero(tied(shares).sum(axis=1) > 1)
        if len(rows):
            shares[rows] = settled(shares[rows], list(self._preferences(batch.P[:, rows], batch.mask[:, rows])))
        return shares

    def _preferences(self, P: Array, mask: Array) -> Iterator[Array]:
        """What settles a tie, in turn."""
        if self.prior is not None:
            yield self.prior
        if self.probable:
            yield weighted_mean(P, mask, self.share)

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Members, the rule and facts; shares and prior as arrays."""
        said = {"members": list(self.members), "tie": self.tie, "probable": self.probable, "about": dict(self.about)}
        return said, {"share": self.share} | ({} if self.prior is None else {"prior": self.prior})

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Voted:
        """What `told` told."""
        share = np.asarray(arrays["share"], np.float64)
        prior = np.asarray(arrays["prior"], np.float64) if "prior" in arrays else None
        return cls(tuple(said["members"]), share, said["tie"], prior, said["probable"], dict(said["about"]))


@dataclass(frozen=True)
class Hard(Combiner):
    """Hard vote (`combine.hard_vote`): the probabilities are the shares of votes.

    A member that holds several classes equally probable splits its vote. Where classes are tied, `prior` takes the one
    that is most frequent in the bank's truth, then `confidence`; `confidence` the one to which the members give more on
    average, which needs members that give probabilities. What is tied even then (equal priors, members that give labels
    only) goes to the class that stands first in the ensemble's own order; that is the same on every call.

    Args:
        weights: one for each member, ≥ 0, in their order or by name; one vote each without them.
        tie: `confidence`, `prior` or `error`.

    Raises:
        UsageError: `bad-weights`; `bad-argument`.
    """

    name: ClassVar[str] = "hard"
    weights: Weights | None = None
    tie: Tie = "confidence"

    def __post_init__(self) -> None:
        refuse(given_faults(self.weights) + choice_faults("tie", self.tie, TIES))
        object.__setattr__(self, "weights", frozen_weights(self.weights))

    @property
    def learns(self) -> bool:  # type: ignore[override]
        """Whether the truth is looked at: only for the prior."""
        return self.tie == "prior"

    def fit(self, bank: Bank) -> Fitted:
        """The prior is looked for where ties need it.

        Raises:
            InputError: `missing-label` and `too-few-rows` for `prior`; `wrong-member`; `no-member`.
            UsageError: `bad-argument`: a regression; `bad-weights`: they do not fit the members.
        """
        check_classes(bank, self.name, "use `soft`, `weighted` or `median`")
        check_voters(bank, self.name, self.tie)
        return voted(bank, shares_given(self.weights, bank.members), self.tie)


def voted(bank: Bank, share: Array, tie: Tie, about: Mapping[str, Any] | None = None) -> Voted:
    """A vote with these shares, of members that can vote."""
    prior = prior_of(bank) if tie == "prior" else None
    probable = all(bank.probable)
    return Voted(bank.members, share, tie, prior, probable, about or {})


def check_voters(bank: Bank, combiner: str, tie: Tie) -> None:
    """Refuse scores only where ties are settled by what members give: a vote asks for the order alone.

    Raises:
        InputError: `no-member`; `wrong-member`.
    """
    if tie == "confidence":
        check_probable(bank, combiner)
    else:
        check_members(bank)


def prior_of(bank: Bank) -> Array:
    """How frequent the classes are in a bank, `[K]`.

    Raises:
        InputError: `missing-label`; `too-few-rows`.
    """
    check_honest(bank, allow_in_sample=True)  # how frequent classes are does not depend on what members say
    if not len(bank):
        raise InputError(Fault("too-few-rows", "the prior of the classes needs at least one row; the bank has none"))
    return class_prior(cast(Array, bank.truth), len(bank.classes))


COMBINERS.register("hard", Hard)
FITTED.register("voted", Voted)
