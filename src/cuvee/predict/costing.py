"""What it costs to ask an ensemble about a row: the members that are asked, as often as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Batch, Fitted, Staged
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
    if not isinstance(fitted, Staged) or not len(bank):
        return {}
    part = bank.only(fitted.members)
    wanted, shares = np.ones(len(part), dtype=bool), dict.fromkeys(fitted.members, 0.0)
    mask = np.zeros_like(part.mask)
    for step, number in enumerate(fitted.order):
        shares[fitted.members[number]] = float(wanted.mean())
        mask[number] = part.mask[number] & wanted
        if step + 1 < len(fitted.order):
            said = Batch(np.where(mask[:, :, None], part.P, np.nan), mask, part.features, part.embeddings)
            wanted = wanted & fitted.undecided(said, step)
    return shares
