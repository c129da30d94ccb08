"""How long carrying out a plan will take: in which form, at the paces measured of this machine or at usual ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cuvee import fused
from cuvee.api.calibration import Calibration, load
from cuvee.planning import DEFAULT, Machine, Plan, Prediction, Workers, predict
from cuvee.planning.inner import stages_in
from cuvee.planning.pace import arithmetic_entries
from cuvee.types import DTYPES

Basis = Literal["measured", "measured-elsewhere", "assumed"]
_ROWS = ("bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Forecast:
    """A prediction, and what it rests on.

    Attributes:
        prediction: the seconds.
        basis: `measured` on this machine and disk, `measured-elsewhere` on another disk of it, or `assumed`.
    """

    prediction: Prediction
    basis: Basis


def forecast(plan: Plan, workers: Workers, out: Path, known: Calibration | None = None) -> Forecast:
    """Predict what a run without further options takes.

    Args:
        plan: the plan.
        workers: how it is carried out.
        out: the folder, or one above it that is there, where the output goes.
        known: what was measured; what the user's cache holds without it.
    """
    known = known or load()
    if known is None:
        return Forecast(_predicted(plan, workers, DEFAULT), "assumed")
    basis: Basis = "measured" if known.is_about(out) else "measured-elsewhere"
    return Forecast(_predicted(plan, workers, known.machine), basis)


def _predicted(plan: Plan, workers: Workers, machine: Machine) -> Prediction:
    """With the form that `execute` would choose by itself, and what results among the models take, which have none."""
    inner = sum(predict(stage.plan, workers, machine, "plain").merging for stage in stages_in(plan))
    made = _outermost(plan, workers, machine)
    return replace(made, merging=made.merging + inner)


def _outermost(plan: Plan, workers: Workers, machine: Machine) -> Prediction:
    method, kinds = plan.recipe.method, kinds_of(plan)
    usable = fused.available() and method in fused.SAVES and kinds != ""
    if not (usable and fused.is_worth_it(method, kinds, arithmetic_entries(plan.steps))):
        return predict(plan, workers, machine, "plain")
    compiling = 0.0 if fused.is_cached(method, kinds) else fused.COMPILING
    return predict(plan, workers, machine, "fused", compiling=compiling)


def kinds_of(plan: Plan) -> str:
    """The dtypes that the fused form would read and write, as far as the models' own dtypes tell; empty for none."""
    dtypes = {dtype for model in plan.models for dtype in model.dtypes}
    if not all(dtype in DTYPES and DTYPES[dtype].kind.startswith("float") for dtype in dtypes):
        return ""
    rows = "bfloat16" if dtypes == {"bfloat16"} else "float32"
    merged = [step for step in plan.steps if step.action == "merge" and step.work == "float32"]
    outs = {step.out.dtype if step.out.dtype in _ROWS else "float32" for step in merged}
    return "+".join(sorted(f"{rows}-{out}" for out in outs))
