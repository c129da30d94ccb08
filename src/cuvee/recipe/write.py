"""A recipe as plain data, as canonical text with its hash, and as YAML."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from typing import Any

from cuvee.recipe.layer_list import written_layers
from cuvee.recipe.model import (
    Branch,
    Conditions,
    Gradient,
    Larv,
    LayerScaling,
    ModelEntry,
    Module,
    Parameters,
    Recipe,
    Setting,
    Slice,
    Source,
)
from cuvee.recipe.reference import written_placing, written_reference
from cuvee.types import ModelRef, Scalar


def to_data(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data with mergekit's keys; what has its default is left out.

    `from_data(to_data(recipe), methods)` equals the recipe, for every recipe that is right. A recipe inside it is
    written out where its result is named first, and called by its name from there on.
    """
    write = _Writer(recipe)
    data: dict[str, Any] = {"merge_method": recipe.method, "name": recipe.name, **write.body(recipe)}
    data["folder"] = recipe.folder
    data["modules"] = {name: _trimmed(write.body(module)) for name, module in recipe.modules.items()}
    data["base_model"] = write.reference(recipe.base_model)
    for key in ("dtype", "out_dtype", "tokenizer_source", "chat_template"):
        data[key] = getattr(recipe, key)
    data["layer_scaling"] = None if recipe.layer_scaling is None else _scaling(recipe.layer_scaling)
    data["missing"] = None if recipe.missing == "refuse" else recipe.missing
    data = _trimmed(data)
    # an empty `tokenizer:` says something: vocabularies are merged, with every default
    return data if recipe.tokenizer is None else {**data, "tokenizer": copy.deepcopy(recipe.tokenizer)}


def _scaling(scaling: LayerScaling) -> dict[str, Any]:
    """How layers are scaled, in plain lists, without what has no effect."""
    idle = ("gamma" if scaling.mapping == "tiers" else "scales") if isinstance(scaling, Larv) else None
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(scaling).items() if k != idle}
    return _trimmed(told)


def _trimmed(data: dict[str, Any]) -> dict[str, Any]:
    """The data without keys that say nothing."""
    return {key: value for key, value in data.items() if value is not None and value not in ([], {})}


class _Writer:
    """What stands in a recipe's lists; recipes inside it are written out once."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._written: set[str] = set()

    def body(self, part: Recipe | Module) -> dict[str, Any]:
        return {
            "models": [self._entry(entry) for entry in part.models],
            "slices": [self._slice(piece) for piece in part.slices],
            "parameters": _parameters(part.parameters),
        }

    def reference(self, ref: ModelRef | None) -> str | dict[str, Any] | None:
        if ref is None:
            return None
        inner = self._recipe.inner(ref)
        if inner is None or ref.path in self._written:
            return written_reference(ref)
        self._written.add(ref.path)
        return to_data(inner) if ref.placing is None else {"model": to_data(inner), **written_placing(ref)}

    def _entry(self, entry: ModelEntry) -> dict[str, Any]:
        statistics = None if entry.statistics is None else written_reference(entry.statistics)
        own = {"parameters": _parameters(entry.parameters), "statistics": statistics}
        return _trimmed({"model": self.reference(entry.model), **own})

    def _slice(self, piece: Slice) -> dict[str, Any]:
        sources = [self._source(source) for source in piece.sources]
        base, parameters = self.reference(piece.base_model), _parameters(piece.parameters)
        return _trimmed({"sources": sources, "base_model": base, "parameters": parameters})

    def _source(self, source: Source) -> dict[str, Any]:
        model, parameters = self.reference(source.model), _parameters(source.parameters)
        if source.listed:
            return _trimmed({"model": model, "layers": written_layers(source.listed), "parameters": parameters})
        return _trimmed({"model": model, "layer_range": list(source.layers), "parameters": parameters})


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
    return data_as_yaml(to_data(recipe))


def data_as_yaml(data: Mapping[str, Any]) -> str:
    """A recipe's plain data, as `to_data` gives them, as YAML text."""
    from ruamel.yaml import YAML  # only who writes YAML loads it

    yaml = YAML()
    yaml.width = 120
    stream = StringIO()
    yaml.dump(_quoted(data), stream)
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
