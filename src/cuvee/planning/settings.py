"""What gradients, filters and levels come to for one tensor: a number per model, a value per shared parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cuvee.errors import Fault, Place, listed
from cuvee.methods.job import argument
from cuvee.planning.model import Value
from cuvee.planning.slots import Entry, Ground, Slot
from cuvee.recipe.model import Recipe
from cuvee.recipe.values import resolve
from cuvee.types import MethodSpec, Param, Scalar, vanishes

_BROKEN: Final = "out-of-range"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings of one tensor by Python name, and the faults met on the way."""

    settings: Mapping[str, Value] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def settings_for(ground: Ground, spec: MethodSpec, slot: Slot) -> Resolved:
    """Resolve every parameter of the method for one slot.

    Per-model parameters are looked up at model, slice, module and recipe, and their filters are matched against the
    *input* tensor's name; shared ones at slice, module and recipe against the *output* name.
    """
    values: dict[str, Value] = {}
    faults: list[Fault] = []
    for param in (p for p in spec.params if not p.ignored):
        python_name = argument(param.name)
        if not param.per_model:
            value = resolve(param.name, slot.levels, slot.name, slot.t, param.kind)
            values[python_name] = _or_default(ground, param, value, slot.name, None, faults)
            continue
        each = []
        for entry in slot.entries:
            levels = (entry.parameters, *slot.levels)
            value = resolve(param.name, levels, entry.name, slot.t, param.kind)
            each.append(float(_or_default(ground, param, value, slot.name, entry, faults)))
        values[python_name] = tuple(each)
    if not faults:
        told = spec.broken_rules(values, len(slot.entries))
        faults += [Fault(_BROKEN, one, subject=slot.name) for one in told]
    return Resolved(values, (*faults, *_zero_sum(spec, slot, values)))


def place_of_method(recipe: Recipe) -> Place | None:
    """Where the method is named, which is the place of what is wrong between several settings of it."""
    return recipe.locate(("merge_method",)) if recipe.locate else None


def are_broken_rules(faults: Iterable[Fault]) -> bool:
    """Whether nothing is wrong but settings that do not go together: the recipe and not the models."""
    return all(fault.code == _BROKEN for fault in faults)


def told_once(faults: Iterable[Fault], recipe: Recipe) -> list[Fault]:
    """The faults, those of settings once each with the tensors that have them, at the place of the method's name."""
    place = place_of_method(recipe)
    tensors: dict[str, list[str]] = {}
    for fault in faults:
        if fault.code == _BROKEN:
            tensors.setdefault(fault.message, []).append(fault.subject or "")
    found = []
    for fault in faults:
        if fault.code != _BROKEN:
            found.append(fault)
        elif fault.message in tensors:
            names = list(dict.fromkeys(tensors.pop(fault.message)))
            noun = "tensor" if len(names) == 1 else "tensors"
            message = f"{recipe.method}: {fault.message} ({noun} {listed(names)})"
            found.append(replace(fault, message=message, place=place))
    return found


def _or_default(
    ground: Ground, param: Param, value: Value | None, tensor: str, entry: Entry | None, faults: list[Fault]
) -> Scalar:
    """The value, the default, or a fault and a stand-in when there is neither."""
    chosen = param.default if value is None else value
    if isinstance(chosen, bool | int | float | str):
        return chosen
    of_model = f" for model {ground.opened[entry.model].ref}" if entry else ""
    message = f"`{param.name}` is needed{of_model} and no level of the recipe gives it for tensor {tensor}"
    hint = "give it without a filter, or add a last filter-less entry to the list"
    faults.append(Fault("missing-parameter", message, subject=tensor, hint=hint))
    return 1.0


def _zero_sum(spec: MethodSpec, slot: Slot, values: Mapping[str, Value]) -> Iterator[Fault]:
    """The sum of weights must not vanish where it is a divisor."""
    weights = values.get(spec.divides_by) if spec.divides_by else None
    if not isinstance(weights, tuple) or not weights or not spec.divides(values):
        return
    if vanishes(weights):
        message = f"the weights of {slot.name} sum to 0 ({', '.join(f'{w:g}' for w in weights)}) and are divided by"
        switch = f", or set `{spec.divides_when}: false`" if spec.param(spec.divides_when) else ""
        yield Fault("zero-weight-sum", message, subject=slot.name, hint=f"change a weight{switch}")
