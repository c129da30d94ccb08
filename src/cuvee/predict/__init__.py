"""Predictions combined: ensembles of models that already exist, of any kind.

Member    a trained thing, how to ask it, its classes, what it reads, what it costs
Bank      what members said of rows, with the word of how they came to know them
Combiner  how a bank is made one: fitted on a bank, then a pure function of predictions
Ensemble  members and a combiner; live, editable, saved as a directory
"""

from cuvee.predict.bank import Bank
from cuvee.predict.combiners import (
    Hard,
    Maximum,
    Median,
    Minimum,
    Product,
    RankMean,
    Soft,
    TrimmedMean,
    Weighted,
)
from cuvee.predict.costs import measure
from cuvee.predict.combiners import Cascade, Dynamic, Greedy, Soft, Stack
from cuvee.predict.ensemble import Ensemble
from cuvee.predict.member import Member
from cuvee.predict.members.onnx import stamp as stamp_onnx
from cuvee.predict.members.words import word_rows
from cuvee.predict.probing import probe
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.trained import Cost

__all__ = [
    "Bank",
    "Cost",
    "Ensemble",
    "Hard",
    "Maximum",
    "Median",
    "Member",
    "Minimum",
    "Product",
    "RankMean",
    "Rows",
    "Soft",
    "TrimmedMean",
    "Weighted",
    "measure",
    "probe",
    "rows_of",
    "stamp_onnx",
    "word_rows",
]
__all__ = ["Bank", "Cascade", "Cost", "Dynamic", "Ensemble", "Greedy", "Member", "Rows", "Soft", "Stack", "rows_of"]
