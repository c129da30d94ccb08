"""What it costs to ask an ensemble about a row: the members that are asked, as often as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Fitted
from cuvee.predict.state import State


def cost_of(
    state: State, names: Sequence[str], fitted: Fitted | None = None, bank: Bank | None = None, unit: str = "us_per_row"
) -> float | None:
    """The cost of asking members; `None` where one of them was not measured.

    Args:
        state: whose members they are.
        names: who is asked.
        fitted: the combiner that asks; one that asks in turn asks some of them about some rows only.
        bank: the rows by which it is counted how many.
        unit: `us_per_row`, `nbytes`, `memory`.
    """
    costs = {member.name: member.cost for member in state.members if member.name in names}
    found = {name: None if cost is None else getattr(cost, unit) for name, cost in costs.items()}
    if any(value is None for value in found.values()):
        return None
    shares = asked_shares(fitted, bank) if fitted is not None and bank is not None and unit == "us_per_row" else {}
    return math.fsum(float(value) * shares.get(name, 1.0) for name, value in found.items() if value is not None)


def asked_shares(fitted: Fitted, bank: Bank) -> dict[str, float]:
    """Member → share of the rows that it is asked about, for combiners that ask in turn; nothing for others."""
    del fitted, bank
    return {}
