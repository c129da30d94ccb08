"""Members asked in turn by a loop of its own: what the ensemble's way of asking is held to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cuvee.combine import Array
from cuvee.predict.combiners import Batch, Staged

AskOne = Callable[[int, Array], tuple[Array, Array]]
"""Number of a member, numbers of rows `[n]` → what it says of them, `[n, K]`, and of which it says anything, `[n]`."""


def in_turn(fitted: Staged, ask: AskOne, rows: int, width: int) -> Batch:
    """What members say who are asked only where those before them left a row undecided.

    `fitted.apply` of it is the same as of a batch in which every member was asked about every row.

    Args:
        fitted: who decides whether a row needs the next member.
        ask: asks one member.
        rows: how many rows there are.
        width: K.
    """
    P = np.full((len(fitted.members), rows, width), np.nan)
    mask = np.zeros(P.shape[:2], bool)
    open_rows = np.arange(rows)
    for step, m in enumerate(fitted.order):
        if not len(open_rows):
            break
        P[m, open_rows], mask[m, open_rows] = ask(m, open_rows)
        part = Batch(P[:, open_rows], mask[:, open_rows])
        open_rows = open_rows[fitted.undecided(part, step)]
    return Batch(P, mask)
