"""Combiners: how a bank is made one, one file each; all are in `COMBINERS` by name."""

from cuvee.predict.combiners.cascade import Cascade
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Fitted, Linear, Staged
from cuvee.predict.combiners.dynamic import Dynamic
from cuvee.predict.combiners.greedy import Greedy
from cuvee.predict.combiners.stack import Stack
from cuvee.predict.combiners.turns import in_turn
from cuvee.predict.combiners.vote import Soft

__all__ = [
    "COMBINERS",
    "FITTED",
    "Batch",
    "Cascade",
    "Combiner",
    "Dynamic",
    "Fitted",
    "Greedy",
    "Linear",
    "Soft",
    "Stack",
    "Staged",
    "in_turn",
]
