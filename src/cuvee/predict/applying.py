"""A fitted combiner applied to the rows of a bank."""

from __future__ import annotations

from cuvee.combine import Array
from cuvee.predict.asking_all import calibrated
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Fitted
from cuvee.predict.combiners.design import batch_of


def applied(fitted: Fitted, bank: Bank, temperature: float | None = None) -> Array:
    """What a fitted combiner makes of the rows of a bank, `[N, K]`."""
    return calibrated(fitted.apply(batch_of(bank.only(fitted.members))), temperature)
