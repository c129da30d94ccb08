"""Who takes part in a row, and with what share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from cuvee.errors import Fault, InputError

Array = np.ndarray[Any, Any]


def shares(weights: Array, mask: Array) -> Array:
    """Weights that sum to one over those who take part, row by row.

        s_mn = w_mn [mask_mn] / Σ_m w_mn [mask_mn];  where that sum is 0, all who take part count the same

    Args:
        weights: `[M]` or `[M, N]`, ≥ 0, finite.
        mask: `[M, N]`, who takes part.

    Returns:
        `[M, N]`.

    Raises:
        InputError: `no-member`: a row has nobody.

    Example:
        >>> shares(np.array([3.0, 1.0]), np.array([[True, False], [True, True]])).T.tolist()
        [[0.75, 0.25], [0.0, 1.0]]
    """
    check_covered(mask)
    each = np.where(mask, weights if weights.ndim == 2 else weights[:, None], 0.0)
    each = np.where(added(each) > 0, each, mask)
    share: Array = each / added(each)
    return share


def added(values: Array) -> Array:
    """The sum over members, one after the other, `[M, …]` → `[…]`.

    NumPy's own sum adds in another order where there is one row only; then the last bits of a row would depend on how
    many others it came with.
    """
    total: Array = reduce(np.add, values)
    return total


def normalised(values: Array, instead: Callable[[], Array]) -> Array:
    """Rows that sum to one again, `[N, K]`; those in which nothing is left become the row of `instead`.

    Args:
        values: `[N, K]`, ≥ 0.
        instead: gives `[N, K]`, rows that sum to one; asked only if there is such a row.

    Returns:
        `[N, K]`.
    """
    total = values.sum(axis=1, keepdims=True)
    some = total > 0
    made: Array = values / np.where(some, total, 1.0)
    return made if some.all() else np.where(some, made, instead())


def check_covered(mask: Array) -> None:
    """Refuse rows of which no member says anything.

    Raises:
        InputError: `no-member`, with the first of them and how many.
    """
    alone = np.flatnonzero(~mask.any(axis=0))
    if len(alone):
        message = f"every row needs a member that predicts it; row {alone[0]} has none ({len(alone):,} such rows)"
        hint = "every member lacks what it reads there, or failed"
        raise InputError(Fault("no-member", message, hint=hint))
