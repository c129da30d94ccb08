"""From a recipe and headers to a plan: what happens to every tensor, and everything that does not fit."""

from __future__ import annotations

from cuvee.planning.bind import bind, models_of, referenced
from cuvee.planning.cost import Cost, Effect, cost, effects
from cuvee.planning.model import ModelFacts, Piece, Plan, Step, Tied
from cuvee.planning.pace import DEFAULT, Form, Machine, Pace, Prediction, predict
from cuvee.planning.room import DEFAULT_TILE, Workers, default_threads, fit_workers, peak_memory

__all__ = [
    "DEFAULT",
    "DEFAULT_TILE",
    "Cost",
    "Effect",
    "Form",
    "Machine",
    "ModelFacts",
    "Pace",
    "Piece",
    "Plan",
    "Prediction",
    "Step",
    "Tied",
    "Workers",
    "bind",
    "cost",
    "default_threads",
    "effects",
    "fit_workers",
    "models_of",
    "peak_memory",
    "predict",
    "referenced",
]
