"""How a source of a slice says its layers: `layer_range` as mergekit has it, or `layers` as a list."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, WithJsonSchema

from cuvee.recipe.findings import described
from cuvee.recipe.item import fault
from cuvee.recipe.layer_list import read_layers

_RUN: Final = r"\s*\d{1,6}(\s*-\s*\d{1,6})?(\s*x\s*\d{1,6})?\s*"
_LAYERS_PATTERN: Final = f"^{_RUN}(,{_RUN})*$"


def _layer_range(value: Any) -> Any:
    if not (isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value)):
        raise fault("wrong-type", f"should be two integers `[start, stop]`, found {_shown(value)}")
    start, stop = value
    if start < 0 or stop <= start:
        message = f"should run forward from 0 or later, found [{start}, {stop}]"
        hint = "`start` counts from 0 and `stop` is the first layer left out"
        backwards = f'; `layers: "{start - 1}-{stop}"` runs backwards, both ends taken' if start > stop + 1 >= 1 else ""
        raise fault("bad-layer-range", message, hint + backwards)
    return value


def _layers(value: Any) -> Any:
    if type(value) is int and value >= 0:
        return value
    if not isinstance(value, str):
        found = described(value)
        hint = 'write `layers: "0-7, 4-11"`, both ends taken; `layer_range: [0, 8]` leaves the second number out'
        raise fault("wrong-type", f"should be layers and ranges such as `0-7, 4-11, 15-12, 20`, found {found}", hint)
    try:
        read_layers(value)
    except ValueError as error:
        hint = "both ends of a range are taken, layers count from 0, and a larger number first runs backwards"
        raise fault("bad-layer-range", f"should be {error}", hint) from None
    return value


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, list) and len(value) <= 4 else described(value)


LayerRange = Annotated[
    Any,
    AfterValidator(_layer_range),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 2,
            "maxItems": 2,
            "description": "[start, stop]: layers from start (counted from 0) up to, not including, stop.",
        }
    ),
]
Layers = Annotated[
    Any,
    AfterValidator(_layers),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": _LAYERS_PATTERN,
            "description": "Layers and ranges, both ends included: `0-7, 4-11`; `15-12` runs backwards, "
            "`4-7x2` comes twice.",
        }
    ),
]
