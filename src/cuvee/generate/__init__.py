"""Language models that write together: token by token, by votes over answers, by ranking, or one after the other.

ensemble    several models write one text, their next-token distributions made one at every place
voting      one model answers many times, and the answer that most agree on is taken
ranking     candidates compared in pairs by any scorer, and written together by any writer
routing     a small model answers where it is sure, a large one elsewhere

The names below are loaded on first use, so that importing this costs next to nothing and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.generate.ensemble import TokenEnsemble
    from cuvee.generate.ranking import PairRanker, Ranking, likelihood_scorer
    from cuvee.generate.routing import Routed, Router
    from cuvee.generate.voting import Sampled, Vote, answers
    from cuvee.generate.written import Generated, Written

_HOME = {
    "Generated": "written",
    "PairRanker": "ranking",
    "Ranking": "ranking",
    "Routed": "routing",
    "Router": "routing",
    "Sampled": "voting",
    "TokenEnsemble": "ensemble",
    "Vote": "voting",
    "Written": "written",
    "answers": "voting",
    "likelihood_scorer": "ranking",
}

__all__ = [
    "Generated",
    "PairRanker",
    "Ranking",
    "Routed",
    "Router",
    "Sampled",
    "TokenEnsemble",
    "Vote",
    "Written",
    "answers",
    "likelihood_scorer",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"cuvee.generate.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
