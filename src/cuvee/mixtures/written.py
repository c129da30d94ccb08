"""A mixture as plain data and as YAML, with mergekit-moe's keys."""

from __future__ import annotations

from io import StringIO
from typing import Any, Final

from cuvee.mixtures.model import Expert, Mixture
from cuvee.recipe.reference import written_reference

HEAD: Final = "# Model paths are relative to the folder of the file that this mixture was made from.\n"


def as_data(mixture: Mixture) -> dict[str, Any]:
    """A mixture as `read_mixture` reads it back; what has its default is left out, prompts of files are written out."""
    data: dict[str, Any] = {
        "base_model": written_reference(mixture.base),
        "gate_mode": mixture.gate_mode,
        "dtype": mixture.dtype,
        "experts_per_token": mixture.per_token,
        "architecture": mixture.architecture,
        "others": None if mixture.others == "base" else mixture.others,
        "seed": mixture.seed or None,
        "gate_scale": None if mixture.gate_scale == 1 else mixture.gate_scale,
        "experts": [_expert(expert) for expert in mixture.experts],
        "shared_experts": [_expert(expert) for expert in mixture.shared] or None,
    }
    return {key: value for key, value in data.items() if value is not None}


def _expert(expert: Expert) -> dict[str, Any]:
    data = {
        "source_model": written_reference(expert.model),
        "positive_prompts": list(expert.positive) or None,
        "negative_prompts": list(expert.negative) or None,
        "noise_scale": expert.noise_scale or None,
        "residual_scale": None if expert.residual_scale == 1 else expert.residual_scale,
    }
    return {key: value for key, value in data.items() if value is not None}


def as_yaml(mixture: Mixture) -> str:
    """A mixture as a file."""
    from ruamel.yaml import YAML

    stream = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(as_data(mixture), stream)
    return HEAD + stream.getvalue()
