"""A fitted combiner applied to the rows of a bank."""

from __future__ import annotations

from cuvee.combine import Array
from cuvee.predict.asking_all import calibrated
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Batch, Fitted


def applied(fitted: Fitted, bank: Bank, temperature: float | None = None) -> Array:
    """What a fitted combiner makes of the rows of a bank, `[N, K]`."""
    return calibrated(fitted.apply(batch_of(bank.only(fitted.members))), temperature)


def batch_of(bank: Bank) -> Batch:
    """The rows of a bank as a combiner takes them."""
    return Batch(bank.P, bank.mask, bank.features, bank.embeddings)
