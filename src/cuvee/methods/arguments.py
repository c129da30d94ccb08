"""The arguments of a method called in memory: read as numbers, and held against the method's declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from cuvee.errors import Fault, UsageError, nearest, number_faults
from cuvee.methods.job import argument
from cuvee.types import MethodSpec, Param, rows_of, vanishes


def numbers(value: Any) -> Any:
    """A parameter's value as plain Python: a list for a sequence, an array or a tensor, anything else as it is."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    return list(plain) if isinstance(plain, Sequence) and not isinstance(plain, str) else plain


def check_call(
    spec: MethodSpec,
    tensors: Sequence[Tensor],
    base: Tensor | None,
    settings: Mapping[str, Any],
    *,
    names: Sequence[str] | None,
    seed: int,
    tile: int | None,
    collected: Sequence[Tensor] | None = None,
) -> None:
    """Check everything before any arithmetic.

    Raises:
        UsageError: with all faults.
    """
    faults = [*_arity_faults(spec, len(tensors), base is not None)]
    faults += _tensor_faults([*tensors, *([] if base is None else [base])])
    known = {argument(p.name): p for p in spec.params}
    faults += [
        Fault("unknown-parameter", f"{spec.name} has no parameter `{k}`", subject=k, hint=nearest(k, known))
        for k in settings
        if k not in known
    ]
    for name, param in known.items():
        faults += _value_faults(spec, param, settings.get(name), name in settings, len(tensors))
    if not faults:
        faults += [*_zero_sum_faults(spec, settings, len(tensors)), *_rule_faults(spec, settings, len(tensors))]
    if names is not None and (len(names) != len(tensors) or not all(isinstance(name, str) for name in names)):
        faults.append(Fault("bad-argument", f"`names` must name {len(tensors)} models; found {list(names)}"))
    faults += [*_collected_faults(spec, tensors, collected), *number_faults(seed=seed, tile=tile)]
    if faults:
        raise UsageError(faults)


def _arity_faults(spec: MethodSpec, models: int, has_base: bool) -> Iterator[Fault]:
    low, high = spec.models
    if models < low or (high is not None and models > high) or (models == 0 and not has_base):
        wanted = f"{low}" if high == low else f"at least {max(low, 1)}" if high is None else f"{low} to {high}"
        yield Fault("wrong-number-of-models", f"{spec.name} takes {wanted} model(s) besides the base; found {models}")
    if spec.base == "required" and not has_base:
        yield Fault("missing-base", f"{spec.name} needs `base`, the tensor the others started from")
    if spec.base == "input" and has_base:
        yield Fault("bad-argument", f"{spec.name} has no base: give it as one of the tensors")


def _tensor_faults(everything: Sequence[Any]) -> Iterator[Fault]:
    odd = [type(x).__name__ for x in everything if not isinstance(x, Tensor)]
    if odd:
        yield Fault("bad-argument", f"models are given as tensors; found {', '.join(odd)}")
        return
    if any(x.is_meta for x in everything):
        yield Fault("bad-argument", "models are given as tensors with data; found some on the meta device")
    devices = sorted({str(x.device) for x in everything})
    if len(devices) > 1:
        yield Fault("bad-argument", f"tensors must be on one device; found {', '.join(devices)}")
    for dtype in dict.fromkeys(x.dtype for x in everything if not x.is_floating_point()):
        message = f"only float tensors can be merged; found {str(dtype).removeprefix('torch.')}"
        yield Fault("unmergeable-dtype", message, hint="convert them, if they are meant to be weights")
    shapes = {tuple(x.shape) for x in everything}
    if len(shapes) > 1:
        yield Fault("shape-mismatch", f"tensors must have one shape; found {sorted(shapes)}")


def _collected_faults(spec: MethodSpec, tensors: Sequence[Any], collected: Sequence[Any] | None) -> Iterator[Fault]:
    """What was collected must be there for every model, and fit the tensors."""
    if collected is None:
        return
    if spec.collected is None:
        yield Fault("bad-argument", f"{spec.name} reads nothing that was collected", subject="collected")
        return
    if len(collected) != len(tensors) or not all(isinstance(one, Tensor) for one in collected):
        message = f"`collected` must be {len(tensors)} tensors, one per model; found {len(collected)}"
        yield Fault("bad-argument", message, subject="collected")
        return
    shapes = {tuple(x.shape) for x in tensors if isinstance(x, Tensor)}
    if spec.collected == "fisher":
        wanted = shapes
    else:
        wanted = {found for shape in shapes for found in _grams_of(rows_of(shape))}
    found = {tuple(one.shape) for one in collected}
    if found - wanted:
        message = f"`collected` must have the shape {sorted(wanted)}; found {sorted(found)}"
        yield Fault("shape-mismatch", message, subject="collected")


def _grams_of(rows: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """The shapes of Gram matrices that fit: of the entries of a row, or of a column where inputs come first."""
    return (rows[1], rows[1]), (1, rows[0], rows[0])


def _value_faults(spec: MethodSpec, param: Param, given: Any, is_given: bool, models: int) -> Iterator[Fault]:
    if not is_given or param.ignored:
        if param.required:
            yield Fault("missing-parameter", f"{spec.name} needs `{param.name}`: {param.doc}", subject=param.name)
        return
    value = numbers(given)
    many = param.per_model and isinstance(value, list)
    values = value if many else [value]
    if many and len(values) != models:
        message = f"`{param.name}` must be one number or {models}, one per model; found {len(values)}"
        yield Fault("bad-argument", message, subject=param.name)
    for one in values:
        if not param.has_kind(one) or (param.kind != "bool" and not param.admits(one)):
            message = f"`{param.name}` must be {param.wanted}; found {one!r}"
            yield Fault("out-of-range", message, subject=param.name)


def _rule_faults(spec: MethodSpec, settings: Mapping[str, Any], models: int) -> Iterator[Fault]:
    """What the parameters must be together."""
    known: dict[str, Any] = {}
    for param in (p for p in spec.params if not p.ignored):
        value = numbers(settings.get(argument(param.name), param.default))
        known[argument(param.name)] = [value] * models if param.per_model and not isinstance(value, list) else value
    yield from (Fault("out-of-range", told, subject=spec.name) for told in spec.broken_rules(known, models))


def _zero_sum_faults(spec: MethodSpec, settings: Mapping[str, Any], models: int) -> Iterator[Fault]:
    """The weights must not cancel where the result is divided by their sum."""
    if spec.divides_by is None or not models or not spec.divides(settings):
        return
    switch = spec.param(spec.divides_when)
    param = spec.param(spec.divides_by)
    value = numbers(settings.get(spec.divides_by, param.default if param else None))
    weights = [float(v) for v in (value if isinstance(value, list) else [value] * models)]
    if vanishes(weights):
        message = f"the weights of {spec.name} are divided by their sum, which is 0; found {weights}"
        hint = "change one" if switch is None else f"change one, or give `{switch.name}=False`"
        yield Fault("zero-weight-sum", message, subject=spec.divides_by, hint=hint)
