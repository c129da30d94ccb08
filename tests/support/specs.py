"""Declarations of methods for tests of recipes: every base rule, kind of parameter and number of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cuvee.types import BaseRule, MethodSpec, Param

WEIGHT: Final = Param("weight", "float", "share of the model", per_model=True, required=True)
DENSITY: Final = Param(
    "density", "float", "kept fraction", default=1.0, per_model=True, low=0.0, high=1.0, low_open=True
)
LAMBDA: Final = Param("lambda", "float", "scale of the merged delta", default=1.0)
INT8_MASK: Final = Param("int8_mask", "bool", "memory only", default=False, ignored=True)
T: Final = Param("t", "float", "position between the models", required=True, low=0.0, high=1.0)


def switch(name: str, default: bool) -> Param:
    return Param(name, "bool", f"whether to {name}", default=default)


def spec(name: str, base: BaseRule, models: tuple[int, int | None], *params: Param, **more: Any) -> MethodSpec:
    return MethodSpec(name, f"{name}, for tests", "y = x", "weight", "element", base, models, params, **more)


def delta(name: str, normalize: bool, rescale: bool, *params: Param) -> MethodSpec:
    own = (WEIGHT, *params, switch("normalize", normalize), switch("rescale", rescale), LAMBDA, INT8_MASK)
    return spec(name, "required", (1, None), *own, divides_by="weight")


SPECS: Final[Mapping[str, MethodSpec]] = {
    each.name: each
    for each in (
        spec("linear", "input", (1, None), WEIGHT, switch("normalize", True), divides_by="weight"),
        spec("slerp", "required", (1, 1), T),
        spec("nuslerp", "optional", (2, 2), WEIGHT, switch("nuslerp_row_wise", False)),
        spec("karcher", "input", (1, None), Param("max_iter", "int", "rounds", default=10, low=1)),
        spec("model_stock", "required", (2, None), switch("filter_wise", False)),
        spec("pair_or_three", "input", (2, 3)),
        delta("task_arithmetic", False, False, Param("density", "float", "unused", per_model=True, ignored=True)),
        delta("ties", True, False, DENSITY),
        delta("dare_linear", False, True, DENSITY),
        delta("dare_ties", False, True, DENSITY),
        spec("passthrough", "input", (1, 1), Param("scale", "float", "factor", per_model=True)),
    )
}
