"""A recipe as plain data, as canonical text with its hash, and as YAML."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from typing import Any

from cuvee.recipe.model import (
    Branch,
    Conditions,
    Gradient,
    ModelEntry,
    Module,
    Parameters,
    Recipe,
    Setting,
    Slice,
    Source,
)
from cuvee.recipe.reference import written_reference
from cuvee.types import Scalar


def to_data(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data with mergekit's keys; what has its default is left out.

    `from_data(to_data(recipe), methods)` equals the recipe, for every recipe that is right.
    """
    data: dict[str, Any] = {"merge_method": recipe.method, "name": recipe.name, **_body(recipe)}
    data["modules"] = {name: _trimmed(_body(module)) for name, module in recipe.modules.items()}
    data["base_model"] = None if recipe.base_model is None else written_reference(recipe.base_model)
    for key in ("dtype", "out_dtype", "tokenizer_source", "chat_template"):
        data[key] = getattr(recipe, key)
    data["layer_scaling"] = None if recipe.layer_scaling is None else _trimmed(asdict(recipe.layer_scaling))
    data["missing"] = None if recipe.missing == "refuse" else recipe.missing
    data = _trimmed(data)
    # an empty `tokenizer:` says something: vocabularies are merged, with every default
    return data if recipe.tokenizer is None else {**data, "tokenizer": copy.deepcopy(recipe.tokenizer)}


def _body(part: Recipe | Module) -> dict[str, Any]:
    return {
        "models": [_entry(entry) for entry in part.models],
        "slices": [_slice(piece) for piece in part.slices],
        "parameters": _parameters(part.parameters),
    }


def _trimmed(data: dict[str, Any]) -> dict[str, Any]:
    """The data without keys that say nothing."""
    return {key: value for key, value in data.items() if value is not None and value not in ([], {})}


def _entry(entry: ModelEntry) -> dict[str, Any]:
    statistics = None if entry.statistics is None else written_reference(entry.statistics)
    own = {"parameters": _parameters(entry.parameters), "statistics": statistics}
    return _trimmed({"model": written_reference(entry.model), **own})


def _slice(piece: Slice) -> dict[str, Any]:
    base = None if piece.base_model is None else written_reference(piece.base_model)
    sources = [_source(source) for source in piece.sources]
    return _trimmed({"sources": sources, "base_model": base, "parameters": _parameters(piece.parameters)})


def _source(source: Source) -> dict[str, Any]:
    model, layers = written_reference(source.model), list(source.layers)
    return _trimmed({"model": model, "layer_range": layers, "parameters": _parameters(source.parameters)})


def _parameters(parameters: Parameters) -> dict[str, Any]:
    return {name: _setting(setting) for name, setting in parameters.items()}


def _setting(setting: Setting) -> Any:
    return [_branch(branch) for branch in setting.branches] if isinstance(setting, Conditions) else _plain(setting)


def _branch(branch: Branch) -> dict[str, Any]:
    value = _plain(branch.value)
    return {"value": value} if branch.filter is None else {"filter": branch.filter, "value": value}


def _plain(value: Scalar | Gradient) -> Any:
    return list(value) if isinstance(value, tuple) else value


def canonical(recipe: Recipe) -> str:
    """A recipe as one line of JSON: keys sorted, defaults and places left out, `1.0` written `1`.

    Two recipes that ask the same in the same order of models have the same text, wherever their files stand.
    """
    return _line(to_data(recipe))


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(_canonical(data), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    # 2**53: above it a float is no exact count, and its integer form would only be long
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 (hex) of the canonical text."""
    return hashlib.sha256(canonical(recipe).encode("ascii")).hexdigest()


def hash_of_data(data: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the canonical text of a recipe's plain data, as `to_data` gives them."""
    return hashlib.sha256(_line(data).encode("ascii")).hexdigest()


def to_yaml(recipe: Recipe) -> str:
    """A recipe as YAML text that `parse_text` reads back."""
    from ruamel.yaml import YAML  # only who writes YAML loads it

    yaml = YAML()
    yaml.width = 120
    stream = StringIO()
    yaml.dump(_quoted(to_data(recipe)), stream)
    return stream.getvalue()


def _quoted(value: Any) -> Any:
    """The data with quotes around every text that would be read as something else, `on` for one."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    from cuvee.recipe.nodes import read_scalar

    if isinstance(value, dict):
        return {_quoted(key): _quoted(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_quoted(entry) for entry in value]
    if isinstance(value, str) and (value == "<<" or read_scalar(value) != value):
        return DoubleQuotedScalarString(value)
    return value
