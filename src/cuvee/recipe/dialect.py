"""mergekit's spellings: a recipe from its checked plain data, and what of it this version does not carry out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.recipe.findings import in_order
from cuvee.recipe.grouping import references
from cuvee.recipe.layer_list import is_forward, read_layers
from cuvee.recipe.model import (
    Branch,
    Conditions,
    DocumentPath,
    Gradient,
    Larv,
    LayerScaling,
    Lines,
    Locate,
    ModelEntry,
    Module,
    Parameters,
    Recipe,
    Setting,
    Slice,
    Source,
)
from cuvee.recipe.reference import read_reference
from cuvee.types import ModelRef, Scalar

MISREAD: Final = "?"
"""Stands for a model that the recipe names wrongly, so that all else in its entry can still be checked."""

TEXT_KEYS: Final = ("dtype", "out_dtype", "chat_template", "missing", "name", "tokenizer")
"""Top-level keys taken over as they are."""


def build(data: Mapping[str, Any], root: Path | None = None, locate: Locate | None = None) -> Recipe:
    """A recipe from plain data that has the right structure.

    Args:
        data: mergekit's keys; what is missing or was taken out for being wrong is filled with placeholders.
        root: folder that relative model paths start from.
        locate: from a document path to a place in the file.
    """
    builder = _Builder(root)
    tokens = data.get("tokenizer_source")
    modules = _given(data, "modules", {}).items()
    return Recipe(
        method=data.get("merge_method", MISREAD),
        models=builder.models(data, ()),
        slices=builder.slices(data, ()),
        modules={name: builder.module(module, ("modules", name)) for name, module in modules},
        base_model=builder.model(data.get("base_model")),
        parameters=read_parameters(data),
        layer_scaling=_layer_scaling(data.get("layer_scaling")),
        tokenizer_source=None if tokens is None else str(read_reference(tokens, root)),
        root=root,
        locate=locate,
        **{key: data[key] for key in TEXT_KEYS if data.get(key) is not None},
    )


class _Builder:
    """Entries of a recipe, each knowing its document path."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def model(self, value: Any) -> ModelRef | None:
        return None if value is None else read_reference(value, self._root)

    def models(self, data: Mapping[str, Any], at: DocumentPath) -> tuple[ModelEntry, ...]:
        return tuple(
            ModelEntry(
                self.model(entry.get("model")) or ModelRef(MISREAD),
                read_parameters(entry),
                path,
                self.model(entry.get("statistics")),
            )
            for entry, path in _entries(data, "models", at)
        )

    def slices(self, data: Mapping[str, Any], at: DocumentPath) -> tuple[Slice, ...]:
        return tuple(
            Slice(self.sources(entry, path), self.model(entry.get("base_model")), read_parameters(entry), path)
            for entry, path in _entries(data, "slices", at)
            for _ in range(_given(entry, "repeat", 1))
        )

    def sources(self, data: Mapping[str, Any], at: DocumentPath) -> tuple[Source, ...]:
        return tuple(self.source(entry, path) for entry, path in _entries(data, "sources", at))

    def source(self, entry: Mapping[str, Any], at: DocumentPath) -> Source:
        model = self.model(entry.get("model")) or ModelRef(MISREAD)
        if (written := entry.get("layers")) is None:
            start, stop = _given(entry, "layer_range", (0, 0))
            return Source(model, (start, stop), read_parameters(entry), at)
        return source_of(model, read_layers(str(written)), read_parameters(entry), at)

    def module(self, data: Mapping[str, Any], at: DocumentPath) -> Module:
        return Module(self.models(data, at), self.slices(data, at), read_parameters(data), at)


def source_of(
    model: ModelRef, layers: Sequence[int], parameters: Parameters | None = None, at: DocumentPath = ()
) -> Source:
    """A source of layers in any order; one forward run is what `layer_range` says, however it was written."""
    bounds = min(layers), max(layers) + 1
    listed = () if is_forward(layers) else tuple(layers)
    return Source(model, bounds, parameters or {}, at, listed, key="layers")


def _given(data: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value of a key; one that is left empty counts as not given."""
    value = data.get(key)
    return default if value is None else value


def _entries(data: Mapping[str, Any], key: str, at: DocumentPath) -> Iterator[tuple[Mapping[str, Any], DocumentPath]]:
    for index, entry in enumerate(_given(data, key, [])):
        yield entry, (*at, key, index)


def _layer_scaling(data: Any) -> LayerScaling | None:
    if not isinstance(data, Mapping):
        return None
    plain: LayerScaling = Larv() if data.get("policy") == "larv" else Lines()
    known = [field.name for field in fields(plain) if field.name != "policy" and data.get(field.name) is not None]
    return replace(plain, **{name: _number(data[name]) for name in known})


def _number(value: Any) -> Any:
    """Numbers of a layer scaling are floats, its lists tuples of them, without what was told to be wrong."""
    if isinstance(value, list | tuple):
        return tuple(float(one) for one in value if isinstance(one, int | float))
    return float(value) if isinstance(value, int) else value


def read_parameters(data: Mapping[str, Any]) -> Parameters:
    """The settings under an entry's `parameters`."""
    return {name: read_setting(value) for name, value in _given(data, "parameters", {}).items()}


def read_setting(value: Any) -> Setting:
    """A setting: a scalar, a list of scalars, `{filter?, value}`, or a list of such mappings.

    Example:
        >>> read_setting([{"filter": "mlp", "value": [0, 1]}, {"value": 0.5}])
        Conditions(branches=(Branch(filter='mlp', value=(0, 1)), Branch(filter=None, value=0.5)))
    """
    if isinstance(value, Mapping):
        return Conditions((_branch(value),))
    if isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
        return Conditions(tuple(_branch(entry) for entry in value))
    return _plain(value)


def _branch(data: Mapping[str, Any]) -> Branch:
    return Branch(data.get("filter"), _plain(data["value"]))


def _plain(value: Any) -> Scalar | Gradient:
    plain: Scalar | Gradient = tuple(value) if isinstance(value, list | tuple) else value
    return plain


def not_yet(recipe: Recipe) -> tuple[Fault, ...]:
    """What a recipe asks that this version understands and does not carry out: adapters on results.

    Returns:
        A `not-yet` fault for each, at its place; an empty tuple if everything can be carried out.
    """
    faults = []
    for ref, path in references(recipe):
        if ref.adapter is not None and ref.path in recipe.nested:
            faults.append(_on_a_result(recipe, path, ref))
    for inner in recipe.nested.values():
        faults += not_yet(inner)
    return tuple(dict.fromkeys(in_order(faults)))


def _on_a_result(recipe: Recipe, path: DocumentPath, ref: ModelRef) -> Fault:
    place = recipe.locate(path) if recipe.locate else None
    message = f"an adapter on the result of a recipe inside this one, `{ref}`, is not carried out yet"
    return Fault("not-yet", message, place, str(ref), "merge the inner recipe into a folder first, and name that")
