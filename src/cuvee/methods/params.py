"""Parameters that several methods share, said once."""

from __future__ import annotations

from typing import Final

from cuvee.types import Param

WEIGHT: Final = Param(
    "weight", "float", "how much of this model; any finite number, negative to subtract", per_model=True, required=True
)
SHARE: Final = Param(
    "weight", "float", "how much of this model, relative to the others", default=1.0, per_model=True, low=0.0
)
DENSITY: Final = Param(
    "density",
    "float",
    "fraction of this model's delta that is kept, counted per tensor; 1 keeps all",
    default=1.0,
    per_model=True,
    low=0.0,
    low_open=True,
    high=1.0,
)
LAMBDA: Final = Param("lambda", "float", "scale of the merged delta before it is added to the base", default=1.0)
INT8_MASK: Final = Param(
    "int8_mask", "bool", "a memory setting of mergekit; it never changed a result", default=False, ignored=True
)


def normalize(default: bool) -> Param:
    """The switch that divides by the sum of weights."""
    return Param("normalize", "bool", "divide by the sum of the weights that took part", default=default)


def ignored(name: str, kind: str, why: str) -> Param:
    """A parameter that a peer's recipes may carry and that changes nothing."""
    return Param(name, "bool" if kind == "bool" else "float", why, per_model=kind == "per-model", ignored=True)
