"""Ties of a vote: which classes share the most votes, and which of them wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from cuvee.combine.parts import Array
from cuvee.errors import Fault, InputError

NEAR: Final = 1e-12
"""Shares that differ by no more are equal: weights such as 0.1 + 0.2 and 0.3 do not add up to the same float."""

LEAN: Final = 1e-6
"""What a tied class that loses gives of its share to the winner, so that whoever reads off the largest finds it."""


def tied(shares: Array) -> Array:
    """The classes that have the most votes, bool `[N, K]`; a row with more than one is a tie.

    Args:
        shares: `[N, K]`, shares of votes.
    """
    most: Array = shares >= shares.max(axis=1, keepdims=True) - NEAR
    return most


def settled(shares: Array, preferences: Sequence[Array]) -> Array:
    """Shares in which the winner of every tie is the largest.

    Of the classes that are tied, those stay that the first preference likes most, of these those that the second likes
    most, and so on. What is tied even then goes to the class that stands first in the order of the ensemble's classes.
    The other tied classes give a millionth of their share to the winner; rows without a tie are left alone.

    Args:
        shares: `[N, K]`, rows that sum to one.
        preferences: `[K]` or `[N, K]` each: higher is preferred.

    Returns:
        `[N, K]`, rows that sum to one.

    Example:
        >>> settled(np.array([[0.5, 0.5, 0.0]]), [np.array([0.1, 0.6, 0.3])]).argmax()
        np.int64(1)
    """
    level = tied(shares)
    left = level
    for liking in preferences:
        wanted = np.where(left, liking, -np.inf)
        left = wanted >= wanted.max(axis=1, keepdims=True) - NEAR
    rows, winner = np.arange(len(shares)), left.argmax(axis=1)
    given = np.where(level, shares * LEAN, 0.0)
    made: Array = shares - given  # the winner gives too, and gets it back
    made[rows, winner] += given.sum(axis=1)
    return made


def refuse_ties(shares: Array) -> None:
    """Refuse rows whose vote is tied.

    Raises:
        InputError: `tied-vote`, with the first of them and how many.
    """
    level = tied(shares)
    rows = np.flatnonzero(level.sum(axis=1) > 1)
    if len(rows):
        classes = np.flatnonzero(level[rows[0]]).tolist()
        message = f"no vote may be tied; in row {rows[0]} the classes {classes} are ({len(rows):,} such rows)"
        hint = "set `tie` to `confidence` or `prior`, or give the members different weights"
        raise InputError(Fault("tied-vote", message, hint=hint))
