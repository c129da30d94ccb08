"""What a mixture will be, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cuvee.mixtures.model import Mixture
from cuvee.mixtures.planning import MixturePlan


@dataclass(frozen=True, slots=True)
class Outline:
    """A mixture in numbers.

    Attributes:
        layout: `model_type` of the output.
        architecture: its class.
        experts: the models whose MLPs are its experts, in order.
        shared: the model of the shared expert.
        gate_mode: where the routers come from.
        per_token: experts that a token is sent to.
        layers: how many, each with a router and experts.
        parameters: numbers in all tensors.
        active: those that a token meets.
        nbytes: bytes of all tensors.
        read: bytes of tensors that are read.
        tensors: how many.
        merged: those that are put together from several, or scaled.
        left_out: tensors of the members that are not used.
        config_changes: what is changed in `config.json`.
        notes: what the user should know.
    """

    layout: str
    architecture: str
    experts: tuple[str, ...]
    shared: str | None
    gate_mode: str
    per_token: int
    layers: int
    parameters: int
    active: int
    nbytes: int
    read: int
    tensors: int
    merged: int
    left_out: int
    config_changes: Mapping[str, Any]
    notes: tuple[str, ...]


def outline_of(mixture: Mixture, made: MixturePlan) -> Outline:
    """A mixture in numbers.

    Args:
        mixture: what is asked.
        made: its plan.
    """
    plan, fit = made.plan, made.fit
    total = sum(step.out.numel for step in plan.steps)
    idle = (len(mixture.experts) - mixture.per_token) * 3 * fit.width * fit.intermediate * fit.layers
    return Outline(
        layout=fit.layout.name,
        architecture=fit.layout.architecture,
        experts=tuple(str(expert.model) for expert in mixture.experts),
        shared=str(mixture.shared[0].model) if mixture.shared else None,
        gate_mode=mixture.gate_mode,
        per_token=mixture.per_token,
        layers=fit.layers,
        parameters=total,
        active=total - idle,
        nbytes=sum(step.out.nbytes for step in plan.steps),
        read=plan.read,
        tensors=len(plan.steps),
        merged=plan.merged,
        left_out=plan.left_out,
        config_changes=plan.config_changes,
        notes=plan.notes,
    )
