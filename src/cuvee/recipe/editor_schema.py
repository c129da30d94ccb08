"""The JSON Schema of recipes, for editors: structure, known methods, and each method's parameters with ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuvee.recipe.holes_schema import allow_holes, choice_of, setting_hole
from cuvee.types import MethodSpec, Param

Schema = dict[str, Any]


def json_schema(methods: Mapping[str, MethodSpec]) -> Schema:
    """JSON Schema (draft 2020-12) of a recipe.

    The method's name decides, through `if`/`then`, which parameters may stand where: under a single model only those
    that each model has for itself. Numbers of models and rules between models are left to `cuvee validate`.

    Args:
        methods: the methods to offer.
    """
    from cuvee.recipe.schema import RecipeItem  # pydantic: only who asks for a schema loads it

    schema = RecipeItem.model_json_schema()
    names = sorted(methods)
    method = schema["properties"]["merge_method"]
    about, known = {"title": method["title"], "description": _summaries(methods)}, {"type": "string", "enum": names}
    schema["properties"]["merge_method"] = {**about, "anyOf": [known, choice_of(known)]}
    allow_holes(schema)
    schema["allOf"] = [_when(name) for name in names]
    schema["oneOf"] = [{"required": [key]} for key in ("models", "slices", "modules")]
    for name in names:
        schema["$defs"] |= _parameter_definitions(methods[name])
    _own_methods_of_slices(schema, names)
    _nest(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Cuvee recipe"}


def _own_methods_of_slices(schema: Schema, names: list[str]) -> None:
    """A slice may have a method of its own, which then decides its parameters; every source says its layers once."""
    schema["$defs"]["SourceItem"]["oneOf"] = [{"required": [key]} for key in ("layer_range", "layers")]
    piece = schema["$defs"]["SliceItem"]
    known = {"type": "string", "enum": names}
    piece["properties"]["merge_method"] = {**piece["properties"]["merge_method"], "anyOf": [known, {"type": "null"}]}
    piece["allOf"] = [{"if": _chosen(name), "then": _parameters_of_slice(name)} for name in names]


def _chosen(name: str) -> Schema:
    return {"properties": {"merge_method": {"const": name}}, "required": ["merge_method"]}


def _parameters_of_slice(name: str) -> Schema:
    """What a method says of the `parameters:` of a slice and of its sources."""
    own = {"properties": {"parameters": {"$ref": f"#/$defs/{name}-model"}}}
    return {"properties": {"parameters": {"$ref": f"#/$defs/{name}-shared"}, "sources": {"items": own}}}


def _nest(schema: Schema) -> None:
    """Let a recipe stand in the place of a model, with the folder that its paths start from."""
    folder = {"type": "string", "minLength": 1, "description": "Folder that the paths of this recipe start from."}
    parts = ("type", "required", "additionalProperties", "allOf", "oneOf")
    definitions = schema["$defs"]
    references = [(definitions[item], "model") for item in ("ModelItem", "SourceItem")]
    for item, key in [*references, (definitions["SliceItem"], "base_model"), (schema, "base_model")]:
        _allow(item["properties"][key])
    properties = {**schema["properties"], "folder": folder}
    definitions["InnerRecipe"] = {**{part: schema[part] for part in parts}, "properties": properties}


def _allow(field: Schema) -> None:
    """Add a recipe, and a choice of models, to what a field may be."""
    inner = {"$ref": "#/$defs/InnerRecipe", "description": "A recipe: its result is the model."}
    union = field["anyOf"][0] if "oneOf" in field.get("anyOf", [{}])[0] else field
    union["oneOf" if "oneOf" in union else "anyOf"] += [inner, {"$ref": "#/$defs/ChooseHole"}]


def _summaries(methods: Mapping[str, MethodSpec]) -> str:
    return "\n".join(f"{name}: {methods[name].summary}" for name in sorted(methods))


def _when(name: str) -> Schema:
    """What the choice of a method says about every `parameters:`."""
    own = {"properties": {"parameters": {"$ref": f"#/$defs/{name}-model"}}}
    shared = {"$ref": f"#/$defs/{name}-shared"}
    unsaid = {"if": {"required": ["merge_method"]}, "then": {}, "else": _parameters_of_slice(name)}
    body = {"parameters": shared, "models": {"items": own}, "slices": {"items": unsaid}}
    return {
        "if": _chosen(name),
        "then": {"properties": {**body, "modules": {"additionalProperties": {"properties": body}}}},
    }


def _parameter_definitions(spec: MethodSpec) -> Schema:
    """Definitions of a method's parameters: those shared by all models, and those under one model."""
    own = [param for param in spec.params if param.per_model or param.ignored]
    return {f"{spec.name}-shared": _parameters(spec.params), f"{spec.name}-model": _parameters(own)}


def _parameters(params: Any) -> Schema:
    properties = {param.name: _setting(param) for param in params}
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _setting(param: Param) -> Schema:
    """A parameter as a value, a gradient, filtered values, or a hole."""
    scalar = _scalar(param)
    plain: Schema = {"anyOf": [scalar, {"type": "array", "items": scalar, "minItems": 1}]}
    branch: Schema = {
        "type": "object",
        "properties": {"filter": {"type": ["string", "null"]}, "value": plain},
        "required": ["value"],
        "additionalProperties": False,
    }
    branches = {"type": "array", "items": branch, "minItems": 1}
    forms = [*plain["anyOf"], branch, branches]
    return {"description": _description(param), "anyOf": [*forms, setting_hole(scalar, forms)]}


def _description(param: Param) -> str:
    default = "" if param.default is None else f" Default: {str(param.default).lower()}."
    needed = " Required." if param.required else ""
    ignored = " Accepted for mergekit; changes nothing." if param.ignored else ""
    return f"{param.doc} Range: {param.range}.{default}{needed}{ignored}"


def _scalar(param: Param) -> Schema:
    if param.kind == "bool":
        return {"enum": [True, False, 0, 1]}
    bounds = {
        "exclusiveMinimum" if param.low_open else "minimum": param.low,
        "exclusiveMaximum" if param.high_open else "maximum": param.high,
    }
    if param.kind == "choice":
        return {"enum": list(param.options)}
    kind = "number" if param.kind == "float" else "integer"
    return {"type": kind, **{key: bound for key, bound in bounds.items() if bound is not None}}
