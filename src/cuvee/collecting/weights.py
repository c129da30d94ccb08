"""Which tensors on disk are applied as linear maps, by which modules, and what the others are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cuvee.families.running import Home, Running, homes, is_transposed
from cuvee.types import TensorSpec


@dataclass(frozen=True, slots=True)
class Linear:
    """A weight in memory that is multiplied with inputs.

    Attributes:
        name: the weight's first name in memory.
        modules: names of the modules that apply it; several where they share it.
        width: length of an input.
        transposed: whether it stands as inputs by outputs.
    """

    name: str
    modules: tuple[str, ...]
    width: int
    transposed: bool


@dataclass(frozen=True, slots=True)
class OnDisk:
    """The way from names in memory to names on disk.

    Attributes:
        homes: name on disk → what it has become.
        first: every name in memory → the first name of the same tensor, another one only for tied tensors.
        without: name on disk → why nothing is known of it, whatever is collected.
    """

    homes: Mapping[str, Home]
    first: Mapping[str, str]
    without: Mapping[str, str]


def linears(model: nn.Module) -> dict[str, Linear]:
    """Every weight that a `Linear` or `Conv1D` module applies, by its first name in memory."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, Linear] = {}
    for name, module in model.named_modules():
        transposed = is_transposed(module)
        if not (transposed or isinstance(module, nn.Linear)):
            continue
        weight: Any = module.weight
        if (own := first.get(id(weight))) is None:
            continue
        before = found[own].modules if own in found else ()
        found[own] = Linear(own, (*before, name), int(weight.shape[0 if transposed else 1]), transposed)
    return found


def on_disk(running: Running, specs: Mapping[str, TensorSpec]) -> OnDisk:
    """Look up what every tensor on disk has become; of tied tensors one is kept, the one that comes first in memory."""
    found, without = homes(running, {name: spec.shape for name, spec in specs.items()})
    parameters = {id(parameter): name for name, parameter in running.model.named_parameters()}
    first: dict[str, str] = {}
    for name, value in running.model.named_parameters(remove_duplicate=False):
        first[name] = parameters[id(value)]
    holders: dict[str, str] = {}
    kept: dict[str, Home] = {}
    for name, home in sorted(found.items(), key=lambda item: item[1].memory[0] != first.get(item[1].memory[0])):
        memory = home.memory[0]
        if memory not in first:
            without[name] = "it is a buffer, not a parameter"
        elif home.order is None and first[memory] in holders:
            without[name] = f"it is tied, and stands under {holders[first[memory]]}"
        else:
            kept[name] = Home(tuple(first[m] for m in home.memory), home.order)
            if home.order is None:
                holders[first[memory]] = name
    return OnDisk({name: kept[name] for name in specs if name in kept}, first, without)


def as_on_disk(home: Home, values: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor:
    """A tensor of the shape on disk, put together from what was found for those in memory.

    Args:
        home: what it has become.
        values: found for every entry of the tensors in memory, in their shapes.
        shape: the shape on disk.
    """
    if home.order is None:
        return values[home.memory[0]].reshape(tuple(shape))
    flat = torch.cat([values[name].reshape(-1) for name in home.memory])
    if isinstance(home.order, range):
        return flat[home.order.start : home.order.stop].reshape(tuple(shape))
    return flat[home.order].reshape(tuple(shape))


def input_of(
    home: Home, known: Mapping[str, Linear], shapes: Mapping[str, Sequence[int]], shape: Sequence[int]
) -> tuple[tuple[Linear, ...], bool] | None:
    """The linear maps in memory that a tensor on disk is a part of, and whether it stands as inputs by outputs.

    Returns:
        `None` where one of them is no linear map, or where its inputs are not the tensor's own in their order.
    """
    if len(shape) != 2 or not all(name in known for name in home.memory):
        return None
    maps = tuple(known[name] for name in home.memory)
    if home.order is None:
        return maps, maps[0].transposed
    positions = torch.as_tensor(home.order).reshape(tuple(shape))
    inputs = torch.cat([_inputs(linear, shapes[linear.name]) for linear in maps])[positions]
    if shape[1] == maps[0].width and torch.equal(inputs, torch.arange(shape[1]).expand(*shape)):
        return maps, False
    if shape[0] == maps[0].width and torch.equal(inputs, torch.arange(shape[0])[:, None].expand(*shape)):
        return maps, True
    return None


def why_not_linear(model: nn.Module, memory: str, shape: Sequence[int]) -> str:
    """What to say of a tensor that no linear map has."""
    owner, _, _ = memory.rpartition(".")
    kind = type(model.get_submodule(owner)).__name__
    if len(shape) < 2:
        return "it is no matrix"
    if isinstance(model.get_submodule(owner), nn.Embedding):
        return "it is looked up, not multiplied with inputs"
    return f"it belongs to a {kind}, which is neither Linear nor Conv1D"


def _inputs(linear: Linear, shape: Sequence[int]) -> Tensor:
    """The number of the input that each entry of a weight is multiplied with, flat."""
    counted: Iterator[int] = iter(shape)
    rows, columns = next(counted), next(counted)
    numbers = torch.arange(linear.width)
    return (numbers[:, None] if linear.transposed else numbers[None, :]).expand(rows, columns).reshape(-1)
