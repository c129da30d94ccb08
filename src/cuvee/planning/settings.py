"""What gradients, filters and levels come to for one tensor: a number per model, a value per shared parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cuvee.errors import Fault
from cuvee.methods.job import argument
from cuvee.planning.model import Value
from cuvee.planning.slots import Entry, Ground, Slot
from cuvee.recipe.values import resolve
from cuvee.types import MethodSpec, Param, Scalar, vanishes


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
        faults += [Fault("out-of-range", f"{one} (tensor {slot.name})", subject=slot.name) for one in told]
    return Resolved(values, (*faults, *_zero_sum(spec, slot, values)))


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
