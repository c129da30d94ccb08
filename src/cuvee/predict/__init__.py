"""Predictions combined: ensembles of models that already exist, of any kind.

Member    a trained thing, how to ask it, its classes, what it reads, what it costs
Bank      what members said of rows, with the word of how they came to know them
Combiner  how a bank is made one: fitted on a bank, then a pure function of predictions
Ensemble  members and a combiner; live, editable, saved as a directory
"""

from typing import TYPE_CHECKING, Any

from cuvee.predict.bank import Bank
from cuvee.predict.bank_file import append_members, append_rows, read_bank, save_bank
from cuvee.predict.combiners import (
    Cascade,
    Dynamic,
    Greedy,
    Hard,
    Maximum,
    Median,
    Minimum,
    Product,
    RankMean,
    Soft,
    Stack,
    TrimmedMean,
    Weighted,
)
from cuvee.predict.cross_fitting import cross_fit
from cuvee.predict.diversity import diversity
from cuvee.predict.ensemble import Ensemble
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.trained import Cost

if TYPE_CHECKING:
    from cuvee.predict.estimators.classifier import EnsembleClassifier
    from cuvee.predict.estimators.family_leaderboard import family_leaderboard
    from cuvee.predict.estimators.regressor import EnsembleRegressor

__all__ = [
    "Bank",
    "Cascade",
    "Cost",
    "Dynamic",
    "Ensemble",
    "EnsembleClassifier",
    "EnsembleRegressor",
    "Greedy",
    "Hard",
    "Maximum",
    "Median",
    "Member",
    "Minimum",
    "Product",
    "RankMean",
    "Rows",
    "Soft",
    "Stack",
    "TrimmedMean",
    "Weighted",
    "append_members",
    "append_rows",
    "cross_fit",
    "diversity",
    "family_leaderboard",
    "read_bank",
    "rows_of",
    "save_bank",
]

_LATE = {
    "EnsembleClassifier": "classifier",
    "EnsembleRegressor": "regressor",
    "family_leaderboard": "family_leaderboard",
}


def __getattr__(name: str) -> Any:
    """Estimators inherit from scikit-learn's classes, so their files are loaded when one is asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"cuvee.predict.estimators.{_LATE[name]}"), name)
