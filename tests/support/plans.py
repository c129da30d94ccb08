"""Plans made in memory: models of a few tiny tensors, recipes as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint import MemoryReader
from cuvee.errors import CuveeError
from cuvee.planning import Plan, Step, bind, referenced
from cuvee.recipe import from_data

Tensors = Mapping[str, Tensor]
Data = dict[str, Any]
Configs = Mapping[str, Mapping[str, Any]]


def plan_of(data: Data, models: Mapping[str, Tensors], configs: Configs | None = None) -> Plan:
    """The plan of a recipe over state dicts, with what would stand in their `config.json`."""
    recipe = from_data(data, methods.specs())
    given = configs or {}
    readers = [MemoryReader(ref.path, models[ref.path], given.get(ref.path)) for ref in referenced(recipe)]
    return bind(recipe, readers, methods.get(recipe.method).spec)


def refusal(data: Data, models: Mapping[str, Tensors], configs: Configs | None = None) -> CuveeError:
    """The error that such a recipe ends in."""
    with pytest.raises(CuveeError) as caught:
        plan_of(data, models, configs)
    return caught.value


def named(plan: Plan) -> dict[str, Step]:
    """Every step by the name of its output tensor."""
    assert len({step.out.name for step in plan.steps}) == len(plan.steps)
    return {step.out.name: step for step in plan.steps}


def sources(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Every output tensor's inputs, the base first: model and name."""
    return {s.out.name: [(plan.models[p.model].ref.path, p.tensor) for p in s.pieces] for s in plan.steps}


def weights(plan: Plan, parameter: str = "weight") -> dict[str, Any]:
    """What a parameter comes to in every tensor."""
    return {step.out.name: step.settings[parameter] for step in plan.steps}


def stack(count: int, prefix: str = "model.layers", *parts: str) -> dict[str, Tensor]:
    """Layers of one tensor each, or of several named parts."""
    return {f"{prefix}.{i}.{part}": torch.zeros(2) for i in range(count) for part in parts or ("w",)}


def tensors(*names: str, shape: Sequence[int] = (2,), dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Zeros under these names."""
    return {name: torch.zeros(*shape, dtype=dtype) for name in names}


def entry(model: str, /, **parameters: Any) -> Data:
    """One line of `models:`."""
    return {"model": model, "parameters": parameters}


def recipe(method: str, *entries: Data, **more: Any) -> Data:
    """A recipe of whole models."""
    return {"merge_method": method, "models": list(entries), **more}


def source(model: str, start: int, stop: int, /, **parameters: Any) -> Data:
    """One source of a slice."""
    return {"model": model, "layer_range": [start, stop], "parameters": parameters}


def piece(*listed: Data, **more: Any) -> Data:
    """One slice."""
    return {"sources": list(listed), **more}


def sliced(method: str, *pieces: Data, **more: Any) -> Data:
    """A recipe of slices."""
    return {"merge_method": method, "slices": list(pieces), **more}


def stacked(*cuts: tuple[str, int, int], **more: Any) -> Data:
    """A passthrough recipe of slices with one source each."""
    return sliced("passthrough", *(piece(source(*cut)) for cut in cuts), **more)
