"""The merges of the claims, all through Cuvee's public interface.

The page that the claims come from does its arithmetic on one vector per model. For averaging and task arithmetic that
is the same as tensor by tensor; for TIES it is `ties_global`, which trims over the whole model; for DARE-TIES it is
`dare_ties` with `normalize: true`, whose masks are counted out and so another draw than the page's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

import cuvee

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class Way:
    """A method with its settings, as a recipe would say it."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def merged(self, base: StateDict, models: Mapping[str, StateDict], seed: int = 0) -> dict[str, Tensor]:
        given = {("lambda_" if name == "lambda" else name): value for name, value in self.settings.items()}
        needed = cuvee.methods.get(self.method).spec.base == "required"
        return cuvee.merge_state_dicts(models, self.method, base=base if needed else None, seed=seed, **given)

    def recipe(self, base: Path, models: Sequence[Path]) -> dict[str, Any]:
        """The same as data of a recipe over folders."""
        parts: dict[str, Any] = {"merge_method": self.method, "models": [{"model": str(path)} for path in models]}
        if cuvee.methods.get(self.method).spec.base == "required":
            parts["base_model"] = str(base)
        return {**parts, "dtype": "float32", "parameters": dict(self.settings)}


def arithmetic(scale: float, name: str = "TA tuned") -> Way:
    return Way(name, "task_arithmetic", {"weight": 1.0, "lambda": scale})


def ties(kept: float, scale: float, name: str = "TIES tuned") -> Way:
    return Way(name, "ties_global", {"density": kept, "lambda": scale})


def dare(dropped: float, scale: float, name: str = "DARE-TIES tuned") -> Way:
    settings = {"weight": 1.0, "density": round(1 - dropped, 6), "lambda": scale, "normalize": True}
    return Way(name, "dare_ties", settings)


AVERAGING: Final = Way("averaging", "linear", {"weight": 1.0})
TA_DEFAULT: Final = arithmetic(0.4, "TA 0.4")
TIES_DEFAULT: Final = ties(0.2, 1.0, "TIES k20 λ1")
DEFAULTS: Final = (AVERAGING, TA_DEFAULT, TIES_DEFAULT)


def grids(sums: Sequence[float], ties_scales: Sequence[float], dare_scales: Sequence[float]) -> dict[str, list[Way]]:
    """The settings that are tried on validation rows, by the name under which the best is reported."""
    return {
        "TA tuned": [arithmetic(scale) for scale in sums],
        "TIES tuned": [ties(kept, scale) for kept, scale in product((0.2, 0.5), ties_scales)],
        "DARE-TIES tuned": [dare(dropped, scale) for dropped, scale in product((0.5, 0.8), dare_scales)],
    }


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def geometry(base: StateDict, models: Mapping[str, StateDict]) -> dict[str, float]:
    """Mean |τ| / |θ₀| and the mean cosine of two task vectors; they explain which scales suit."""
    flat = torch.cat([base[name].flatten() for name in base])
    deltas = [torch.cat([model[name].flatten() for name in base]) - flat for model in models.values()]
    norms = [float(delta.norm()) for delta in deltas]
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in combinations(deltas, 2)]
    mean_norm = math.fsum(norms) / len(norms)
    return {"norm_ratio": mean_norm / float(flat.norm()), "cosine": math.fsum(cosines) / max(1, len(cosines))}
