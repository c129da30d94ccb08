"""A combiner of a few lines, for tests of what uses combiners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cuvee.predict import Bank
from cuvee.predict.combiners import Combiner, Fitted, Linear
from cuvee.predict.combiners.declared import check_honest


@dataclass(frozen=True)
class Shares(Combiner):
    """Weights by the share of rows that a member has right, or by the inverse of its squared error."""

    name: ClassVar[str] = "shares"
    learns: ClassVar[bool] = True

    def fit(self, bank: Bank) -> Fitted:
        check_honest(bank)
        truth = bank._known_truth()
        if bank.task == "classification":
            worth = (bank.P.argmax(axis=2) == truth).mean(axis=1) + 1e-6
        else:
            worth = 1 / (np.square(bank.P[:, :, 0] - truth).mean(axis=1) + 1e-6)
        return Linear(bank.members, worth / worth.sum())
