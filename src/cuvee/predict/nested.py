"""The nested estimate: what a combiner is worth on rows that it was not fitted on, by folds over the rows of a bank.

    p_n = apply(fit(bank without fold(n)), row n)

All that is decided with the right answers happens again on every fold: selection, weights, budget, temperature. The
score of these predictions is honest; that of the fit, on the rows that it was found on, is not, and nothing reports it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.bank import Bank

FOLDS: Final = 5
FEWEST: Final = 10
"""Rows below which nothing can be estimated by folds."""

Apply = Callable[[Bank], Array]
"""Rows of a bank → what is predicted of them, `[N, K]`."""


def crossed(
    fit: Callable[[Bank], Apply],
    bank: Bank,
    folds: int = FOLDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Every row predicted by what was fitted without its fold, `[N, K]`.

    Args:
        fit: what finds a way to predict on a bank.
        bank: the rows.
        folds: how many parts the rows are put in, 2 or more.
        seed: of the random numbers that put them there.
        progress: told how many of the folds are done, and how many there are.

    Raises:
        InputError: `too-few-rows`: fewer than 10; and what `fit` raises.
    """
    if len(bank) < FEWEST:
        message = f"an estimate by folds needs at least {FEWEST} rows; the bank has {len(bank)}"
        raise InputError(Fault("too-few-rows", message, hint="predict more rows held out"))
    fold = folds_of(bank, folds, seed)
    whole = np.full((len(bank), bank.P.shape[2]), np.nan)
    for number in range(fold.max() + 1):
        inside = fold == number
        whole[inside] = fit(bank.rows(np.flatnonzero(~inside)))(bank.rows(np.flatnonzero(inside)))
        if progress:
            progress(number + 1, int(fold.max()) + 1)
    return whole


def folds_of(bank: Bank, folds: int = FOLDS, seed: int = 0) -> Array:
    """The fold of every row, `[N]`: drawn class by class, so that each fold has its share of every class.

    Rows are shuffled within their class, put behind one another class by class, and dealt out in turn.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(bank))
    if bank.task == "classification" and bank.truth is not None:
        order = order[np.argsort(bank.truth[order], kind="stable")]
    fold = np.empty(len(bank), dtype=np.int64)
    fold[order] = np.arange(len(bank)) % min(folds, len(bank))
    return fold
