"""What an ensemble is at one moment. It never changes: a change makes another, so an answer comes from one version."""

from __future__ import annotations

from dataclasses import dataclass

from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Combiner, Fitted
from cuvee.predict.member import Member


@dataclass(frozen=True, eq=False)
class State:
    """One version of an ensemble.

    Attributes:
        number: the version, counted from 0.
        what: what was done to get here, in words: `add tfidf-lr`.
        members: in order.
        combiner: settings that combiners are fitted by.
        fitted: what fitting gave; `None` until there is a member.
        bank: what it was fitted on; `None` for a combiner that needs none.
        temperature: what pooled probabilities are calibrated by: softmax(ln p / T); `None` for none.
        notes: what a user should know, such as a fit on in-sample predictions.
    """

    number: int
    what: str
    members: tuple[Member, ...]
    combiner: Combiner
    fitted: Fitted | None = None
    bank: Bank | None = None
    temperature: float | None = None
    notes: tuple[str, ...] = ()
