"""Holes in the JSON Schema of recipes: what `cuvee search` fills, so that editors take it where it may stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Schema = dict[str, Any]

_COMMON: Final[Mapping[str, Schema]] = {
    "start": {"description": "Where a strategy begins; the middle of a range or the first option without it."},
    "per": {
        "description": "A value for each of so many places over the layers, or for each part of tensors' names.",
        "anyOf": [
            {"type": "integer", "minimum": 2},
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
        ],
    },
    "name": {"type": "string", "minLength": 1, "description": "Holes of one name share their value."},
}
_SEARCH: Final[Mapping[str, Schema]] = {
    "search": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    "log": {"type": "boolean", "description": "Spread evenly over logarithms."},
    "step": {"type": "number", "exclusiveMinimum": 0, "description": "Distance between values, from the lower end."},
}
_CHOOSE: Final[Mapping[str, Schema]] = {"choose": {"type": "array", "minItems": 2, "uniqueItems": True}}
_COUNT: Final = {"type": "integer", "minimum": 1}


def _object(about: str, properties: Mapping[str, Schema], *required: str) -> Schema:
    made = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {"description": about, **made, "required": list(required)}


def hole_definitions() -> Schema:
    """Definitions of holes: a range, a choice, either of them, and layers that follow each other."""
    layers = {"models": {"type": "array", "minItems": 1}, "layers": _COUNT, "repeats": _COUNT}
    flow = _object("The layers that a stack is made of.", layers, "models", "layers")
    return {
        "SearchHole": _object("A number within a range, for `cuvee search`.", {**_SEARCH, **_COMMON}, "search"),
        "ChooseHole": _object("One of several values, for `cuvee search`.", {**_CHOOSE, **_COMMON}, "choose"),
        "FlowHole": _object("Which layer follows which, for `cuvee search`.", {"flow": flow}, "flow"),
        "Hole": {"anyOf": [{"$ref": "#/$defs/SearchHole"}, {"$ref": "#/$defs/ChooseHole"}]},
    }


def setting_hole(scalar: Schema, forms: Sequence[Schema]) -> Schema:
    """A hole in the place of a parameter.

    Args:
        scalar: what a number of the parameter is, and so both ends of a range.
        forms: how else the parameter is written, and so what an option may be.
    """
    within = {"search": {"items": scalar}, "choose": {"items": {"anyOf": list(forms)}}}
    return {"$ref": "#/$defs/Hole", "properties": within}


def choice_of(items: Schema) -> Schema:
    """A choice whose options all are something."""
    return {"$ref": "#/$defs/ChooseHole", "properties": {"choose": {"items": items}}}


def allow_holes(schema: Schema) -> None:
    """Let holes stand in a recipe's structure: its method, models, slices, scaling of layers, and what is included."""
    definitions, properties = schema["$defs"], schema["properties"]
    include = {**choice_of({"type": "boolean"}), "description": "Whether the model is in the list."}
    definitions["ModelItem"]["properties"]["include"] = include
    properties["slices"]["anyOf"].append({"$ref": "#/$defs/FlowHole"})
    for item in ("LinesItem", "LarvItem"):
        scaled = definitions[item]["properties"]
        numbers = {key: field for key, field in scaled.items() if key != "policy"}
        scaled |= {key: {"anyOf": [field, {"$ref": "#/$defs/Hole"}]} for key, field in numbers.items()}
    for item in ("ModelItem", "SourceItem", "SliceItem", "ModuleItem"):
        _allow_settings(definitions[item]["properties"])
    _allow_settings(properties)
    definitions |= hole_definitions()


def _allow_settings(properties: Schema) -> None:
    """Let holes stand among parameters of which the method, and so what they are, is not known."""
    if "parameters" in properties:
        properties["parameters"]["anyOf"][0]["additionalProperties"]["oneOf"].append({"$ref": "#/$defs/Hole"})
