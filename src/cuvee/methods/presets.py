"""What named methods are as settings of `compose`, those of other tools and of papers among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_AXES: Final = ("sparsify", "rescale", "elect", "combine")


def _preset(sparsify: str, rescale: str, elect: str, combine: str, **more: float) -> Mapping[str, Any]:
    return dict(zip(_AXES, (sparsify, rescale, elect, combine), strict=True)) | more


PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "task_arithmetic": _preset("none", "none", "none", "sum"),
    "ties": _preset("magnitude", "none", "sum", "mean"),
    "ties_global": _preset("magnitude_of_model", "none", "sum", "count", density=0.2, weight=1.0),
    "dare_linear": _preset("random", "probability", "none", "sum"),
    "dare_ties": _preset("random", "probability", "sum", "sum"),
    "della_linear": _preset("ranks", "probability", "none", "sum", epsilon=0.15),
    "della": _preset("ranks", "probability", "sum", "mean", epsilon=0.15),
    "breadcrumbs": _preset("outliers", "none", "none", "sum", gamma=0.01),
    "breadcrumbs_ties": _preset("outliers", "none", "sum", "sum", gamma=0.01),
}
"""The settings with which `compose` gives the bytes of a method of Cuvee, by its name; others keep their defaults."""

ELSEWHERE: Final[Mapping[str, Mapping[str, Any]]] = {
    "PEFT's ties": _preset("magnitude", "none", "sum", "count"),
    "PEFT's dare_ties": _preset("random", "probability", "sum", "count"),
    "FusionBench's ties": _preset("magnitude_of_model", "none", "sum", "sum", density=0.2, weight=1.0, lambda_=0.3),
    "mergekit's dare_linear": _preset("random", "norm", "none", "sum"),
    "mergekit's dare_ties": _preset("random", "norm", "sum", "sum"),
    "mergekit's della_linear": _preset("ranks", "norm", "none", "sum", epsilon=0.15),
    "mergekit's della": _preset("ranks", "norm", "sum", "mean", epsilon=0.15),
}
"""The settings for what other tools call so; PEFT's vote at equal weights, since it does not weigh votes."""


def listed() -> str:
    """All presets, a line each, as `cuvee methods compose` shows them."""
    everything = {**PRESETS, **ELSEWHERE}
    width = max(map(len, everything))
    return "\n".join(f"{name:<{width}}  {_line(preset)}" for name, preset in everything.items())


def _line(preset: Mapping[str, Any]) -> str:
    more = [f"{name.rstrip('_')} {value:g}" for name, value in preset.items() if name not in _AXES]
    return ", ".join([" / ".join(preset[axis] for axis in _AXES), *more])
