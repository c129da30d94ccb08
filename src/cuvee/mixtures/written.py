"""A mixture as plain data, with mergekit's keys, and as YAML that is read back."""

from __future__ import annotations

from typing import Any, Final

from cuvee.mixtures.model import Expert, Mixture
from cuvee.recipe.reference import written_reference
from cuvee.recipe.write import data_as_yaml

_DEFAULTS: Final = {"gate_mode": "hidden", "experts_per_token": 2, "others": "base", "seed": 0, "gate_scale": 1.0}


def to_data(mixture: Mixture) -> dict[str, Any]:
    """A mixture as plain data; what has its default is left out, and prompts of files are written out."""
    data: dict[str, Any] = {
        "base_model": written_reference(mixture.base),
        "experts": [_expert(expert) for expert in mixture.experts],
        "shared_experts": [_expert(expert) for expert in mixture.shared] or None,
        "gate_mode": mixture.gate_mode,
        "dtype": mixture.dtype,
        "experts_per_token": mixture.per_token,
        "architecture": mixture.architecture,
        "others": mixture.others,
        "seed": mixture.seed,
        "gate_scale": mixture.gate_scale,
    }
    return {key: value for key, value in data.items() if value is not None and value != _DEFAULTS.get(key)}


def _expert(expert: Expert) -> dict[str, Any]:
    data: dict[str, Any] = {
        "source_model": written_reference(expert.model),
        "positive_prompts": list(expert.positive) or None,
        "negative_prompts": list(expert.negative) or None,
        "noise_scale": expert.noise_scale or None,
        "residual_scale": None if expert.residual_scale == 1 else expert.residual_scale,
    }
    return {key: value for key, value in data.items() if value is not None}


def to_yaml(mixture: Mixture) -> str:
    """A mixture as YAML text that `parse_mixture` reads back."""
    return data_as_yaml(to_data(mixture))
