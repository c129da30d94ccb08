"""Gram matrices of inputs that went through layers merged before: RegMean++ (arXiv:2508.03121).

The modules of the models are taken in the order in which they are called: linear maps before the layers, one layer
after the other, linear maps behind them. For each, the Gram matrices of every model's own module are gathered on that
model's own data, with inputs that come out of what is merged so far. Then the module is merged as RegMean does it, with
equal weights, and put in the place of each model's own. What is in none of them (embeddings, norms outside the layers)
is averaged before the first.

Every step runs the models from their start up to the module: simple, without storing activations, and right for layers
that are given more than the last one's output (masks and positions of their own kind of layer), at half as many full
forward passes as there are layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cuvee.collecting.gram import Moments, forward, gather
from cuvee.collecting.samples import Batch
from cuvee.collecting.weights import Linear, linears
from cuvee.errors import Fault, InputError, listed
from cuvee.families import study
from cuvee.families.running import Running
from cuvee.tensors import damp, solve
from cuvee.types import TensorSpec


@dataclass(frozen=True, slots=True)
class Step:
    """A module that is merged as one, how often a forward pass calls it, and the linear maps in it."""

    module: str
    calls: int
    linears: Mapping[str, Linear]


def gather_through(
    models: Sequence[Running],
    data: Sequence[Sequence[Batch]],
    steps: Sequence[Step],
    *,
    alpha: float,
    ridge: float,
    after: Callable[[int], None] | None = None,
) -> list[Moments]:
    """Gather the moments of all models, merging them in place on the way.

    Args:
        models: alike, as `check_alike` finds; afterwards their layers are the merged ones.
        data: the batches of each.
        steps: the modules to go through, in order.
        alpha: what off-diagonal entries are multiplied with before solving, [0, 1].
        ridge: as for `cuvee.tensors.solve`.
        after: told the samples of every batch that went through a step.

    Returns:
        The moments of every model.
    """
    found = [Moments() for _ in models]
    with torch.no_grad():
        _average(models, _outside(models, steps))
        for step in steps:
            moments = []
            for model, batches in zip(models, data, strict=True):
                last = (model.model.get_submodule(step.module), step.calls)
                moments.append(gather(model, step.linears, batches, last=last, after=after))
            _merge(models, step, moments, alpha, ridge)
            for own, more in zip(found, moments, strict=True):
                own.of |= more.of
                own.unclear |= more.unclear
    return found


def check_alike(models: Sequence[Running]) -> None:
    """Refuse models whose layers have other tensors or shapes than the first one's.

    Raises:
        InputError: `shape-mismatch`, with every tensor; `no-layer-stack` where there is none, or more than one.
    """
    first = _shapes(models[0])
    prefix = _layers(models[0])
    faults = []
    for number, model in enumerate(models[1:], 2):
        own = _shapes(model)
        for name in sorted((first.keys() | own.keys()), key=str):
            inside = name.startswith(f"{prefix}.")
            if first.get(name) != own.get(name) and (inside or name not in own or name not in first):
                message = f"model {number}: `{name}` should be {first.get(name)} as in model 1; it is {own.get(name)}"
                faults.append(Fault("shape-mismatch", message, subject=name))
    if faults:
        raise InputError(faults[:20])


def steps_of(model: Running, batch: Batch) -> list[Step]:
    """The modules to merge in the order in which they are first called."""
    prefix = _layers(model)
    every = linears(model.model)
    layers = [f"{prefix}.{name}" for name, _ in model.model.get_submodule(prefix).named_children()]
    outside = {module: linear for linear in every.values() for module in linear.modules}
    outside = {module: linear for module, linear in outside.items() if not module.startswith(f"{prefix}.")}
    calls: dict[str, int] = {}
    handles = []
    for name in (*layers, *outside):

        def count(_module: nn.Module, _given: object, name: str = name) -> None:
            calls[name] = calls.get(name, 0) + 1

        handles.append(model.model.get_submodule(name).register_forward_pre_hook(count))
    with torch.no_grad():
        forward(model, batch)
    for handle in handles:
        handle.remove()
    return [Step(name, number, _inside(name, every)) for name, number in calls.items()]


def _inside(module: str, every: Mapping[str, Linear]) -> dict[str, Linear]:
    """The linear maps of a module."""
    return {
        name: linear
        for name, linear in every.items()
        if any(owner == module or owner.startswith(f"{module}.") for owner in linear.modules)
    }


def _layers(model: Running) -> str:
    """The name of the stack of layers in memory."""
    specs = {name: TensorSpec(name, "float32", shape) for name, shape in _shapes(model).items()}
    stacks = study(specs, model.config.to_dict()).stacks
    if len(stacks) == 1:
        return stacks[0].prefix
    found = listed(stack.prefix for stack in stacks) or "none"
    message = f"a model should have one stack of layers to go through; found {found}"
    raise InputError(Fault("no-layer-stack", message))


def _shapes(model: Running) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.model.named_parameters()}


def _outside(models: Sequence[Running], steps: Sequence[Step]) -> list[str]:
    """Parameters that belong to no step, tied ones among them: an embedding is needed before its head is solved."""
    modules = {step.module for step in steps}
    owned = {name for name in _shapes(models[0]) if any(name.startswith(f"{module}.") for module in modules)}
    return [name for name in _shapes(models[0]) if name not in owned]


def _merge(models: Sequence[Running], step: Step, moments: Sequence[Moments], alpha: float, ridge: float) -> None:
    """Put the merged module in the place of each model's own: weights of linear maps solved, the rest averaged."""
    solved = [
        name for name in step.linears if name.startswith(f"{step.module}.") and all(name in m.of for m in moments)
    ]
    for name in solved:
        weights = _values(models, name)
        if weights is None:
            continue
        transposed = step.linears[name].transposed
        targets = [weight.mT if transposed else weight for weight in weights]
        grams = [damp(own.of[name].mean, alpha) for own in moments]
        merged = solve(targets, grams, [1.0] * len(models), ridge)
        _put(models, name, merged.mT if transposed else merged)
    inside = [name for name in _shapes(models[0]) if name.startswith(f"{step.module}.")]
    _average(models, [name for name in inside if name not in solved])


def _average(models: Sequence[Running], names: Sequence[str]) -> None:
    for name in names:
        values = _values(models, name)
        if values is not None:
            _put(models, name, torch.stack([value.double() for value in values]).mean(0))


def _values(models: Sequence[Running], name: str) -> list[Tensor] | None:
    """A parameter of every model; `None` where they are of different shapes, as heads of different tasks are."""
    values = [model.model.get_parameter(name).detach() for model in models]
    return values if len({value.shape for value in values}) == 1 else None


def _put(models: Sequence[Running], name: str, value: Tensor) -> None:
    for model in models:
        model.model.get_parameter(name).copy_(value)
