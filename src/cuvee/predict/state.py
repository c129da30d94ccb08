"""What an ensemble is at one moment. It never changes: a change makes another, so an answer comes from one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Combiner, Fitted
from cuvee.predict.member import Member

Calibrate = Literal["temperature"] | None
"""How pooled probabilities are calibrated: by one temperature for all rows and classes, or not at all."""


@dataclass(frozen=True)
class Manner:
    """How the combiner was fitted, besides its own settings: what is done again whenever it is fitted anew.

    Attributes:
        calibrate: whether and how pooled probabilities are calibrated.
        budget: what members that are asked may cost together: `us_per_row`, `nbytes`, `memory`; `None`: anything.
        allow_in_sample: whether members' predictions on rows that they were trained on are taken.
    """

    calibrate: Calibrate = None
    budget: Mapping[str, float] | None = None
    allow_in_sample: bool = False


USUAL_MANNER: Final = Manner()


@dataclass(frozen=True, eq=False)
class State:
    """One version of an ensemble.

    Attributes:
        number: the version, counted from 0.
        what: what was done to get here, in words: `add tfidf-lr`.
        members: in order.
        combiner: settings that combiners are fitted by.
        fitted: what fitting gave; `None` until there is a member. It may know fewer members than there are.
        bank: what it was fitted on; `None` for a combiner that needs none.
        temperature: what pooled probabilities are calibrated by: softmax(ln p / T); `None` for none.
        notes: what a user should know, such as a fit on in-sample predictions.
        manner: how the combiner was fitted besides its settings.
    """

    number: int
    what: str
    members: tuple[Member, ...]
    combiner: Combiner
    fitted: Fitted | None = None
    bank: Bank | None = None
    temperature: float | None = None
    notes: tuple[str, ...] = ()
    manner: Manner = USUAL_MANNER

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the members, in order."""
        return tuple(member.name for member in self.members)
