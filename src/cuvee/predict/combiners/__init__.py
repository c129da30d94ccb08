"""Combiners: how a bank is made one, one file each; all are in `COMBINERS` by name."""

from cuvee.predict.combiners.cascade import Cascade
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Fitted, Linear, Staged
from cuvee.predict.combiners.dynamic import Dynamic
from cuvee.predict.combiners.greedy import Greedy
from cuvee.predict.combiners.hard import Hard
from cuvee.predict.combiners.maximum import Maximum
from cuvee.predict.combiners.median import Median
from cuvee.predict.combiners.minimum import Minimum
from cuvee.predict.combiners.product import Product
from cuvee.predict.combiners.rank_mean import RankMean
from cuvee.predict.combiners.stack import Stack
from cuvee.predict.combiners.trimmed_mean import TrimmedMean
from cuvee.predict.combiners.vote import Soft
from cuvee.predict.combiners.weighted import Weighted

__all__ = [
    "COMBINERS",
    "FITTED",
    "Batch",
    "Cascade",
    "Combiner",
    "Dynamic",
    "Fitted",
    "Greedy",
    "Hard",
    "Linear",
    "Maximum",
    "Median",
    "Minimum",
    "Product",
    "RankMean",
    "Soft",
    "Stack",
    "Staged",
    "TrimmedMean",
    "Weighted",
]
