"""From a recipe and headers to a plan: what happens to every tensor, and everything that does not fit."""

from __future__ import annotations

from cuvee.planning.bind import bind, referenced
from cuvee.planning.cost import DEFAULT_TILE, Cost, Effect, cost, default_threads, effects
from cuvee.planning.model import ModelFacts, Piece, Plan, Step, Tied

__all__ = [
    "DEFAULT_TILE",
    "Cost",
    "Effect",
    "ModelFacts",
    "Piece",
    "Plan",
    "Step",
    "Tied",
    "bind",
    "cost",
    "default_threads",
    "effects",
    "referenced",
]
