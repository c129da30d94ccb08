"""Run a method on tensors: on one tile, on a whole tensor, or tile by tile — always the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from cuvee import tensors as t
from cuvee.errors import Fault, UsageError, nearest
from cuvee.methods.declare import Job, Method, argument
from cuvee.types import MethodSpec, Param


def stack_of(method: Method, values: Sequence[Tensor], base: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The stack a method sees, `[K, n]`: values as they are, the base first; or values minus base.

    Args:
        method: which of the two it works on (`spec.space`).
        values: flat tiles of the models, any float dtypes.
        base: flat tile of the base model, if there is one.
        dtype: dtype of the arithmetic.
    """
    if method.spec.space == "weight":
        rows = [v.to(dtype) for v in ([] if base is None else [base]) + list(values)]
        return torch.stack(rows)
    assert base is not None, "a delta method without a base"
    wide = base.to(dtype)
    return torch.stack([v.to(dtype) - wide for v in values])


def combine_tile(method: Method, stack: Tensor, base: Tensor | None, start: int, job: Job, known: Any) -> Tensor:
    """The merged tile, `[n]`, in the dtype of the arithmetic, base added for delta methods.

    Args:
        method: the method.
        stack: from `stack_of`.
        base: flat tile of the base model; used by delta methods.
        start: index in the tensor of the tile's first element.
        job: the tensor's settings.
        known: what the last round concluded.
    """
    given: dict[str, Any] = {"statistics": known, "start": start}
    if "draws" in method.wants:
        stop = start + stack.shape[1]
        given["draws"] = torch.stack([t.uniform(key, start, stop, stack.device) for key in job.keys])
    settings = {k: v.to(job.dtype) if isinstance(v, Tensor) else v for k, v in job.settings.items()}
    merged = method.combine(stack, **{k: v for k, v in (settings | given).items() if k in method.wants})
    if method.spec.space == "weight":
        return merged
    assert base is not None
    return base.to(job.dtype) + merged


def tile_ranges(numel: int, tile: int | None) -> list[tuple[int, int]]:
    """Cut `numel` elements into tiles of `tile`, rounded up to whole blocks; one tile when `tile` is `None`."""
    if numel == 0:
        return []
    step = numel if tile is None else math.ceil(max(1, tile) / t.BLOCK) * t.BLOCK
    return [(start, min(start + step, numel)) for start in range(0, numel, step)]


class Tally:
    """Adds up partial statistics as they come, holding only log₂ n of them.

    Equal numbers of partials are added to each other, as in a binary counter, so that n of them cost n·log n and not
    n². Any order of addition gives the same bytes: that is what a partial promises.
    """

    def __init__(self) -> None:
        self._heaps: list[Any] = []

    def add(self, partial: Any) -> None:
        """Take one more partial in."""
        for i, heap in enumerate(self._heaps):
            if heap is None:
                self._heaps[i] = partial
                return
            partial, self._heaps[i] = heap + partial, None
        self._heaps.append(partial)

    def total(self) -> Any:
        """The sum of all that were taken in; there must be at least one."""
        return reduce(add, [heap for heap in self._heaps if heap is not None])


def merge_tensors(
    method: Method,
    tensors: Sequence[Tensor],
    *,
    base: Tensor | None = None,
    names: Sequence[str] | None = None,
    tensor_name: str = "",
    seed: int = 0,
    tile: int | None = None,
    **settings: Any,
) -> Tensor:
    """Merge tensors of one shape in memory.

    Args:
        method: the method.
        tensors: the models' tensors, all of one shape, any float dtypes; the base is not among them.
        base: the base model's tensor, for methods that have one.
        names: the models' names, which random masks depend on; `0`, `1`, … by default.
        tensor_name: the tensor's name, which random masks depend on.
        seed: seed of random masks.
        tile: elements per tile, rounded up to a multiple of 1024; `None` takes the tensor whole. Changes nothing but
            memory.
        settings: the method's parameters; per-model ones as one number or one per model; `lambda` is `lambda_`.

    Returns:
        The merged tensor, in the inputs' common dtype.

    Raises:
        UsageError: unknown or missing parameters, values out of range, wrong number of tensors, different shapes.

    Example:
        >>> import torch
        >>> from cuvee import methods
        >>> methods.get("linear")([torch.zeros(2), torch.ones(2)], weight=[1, 3])
        tensor([0.7500, 0.7500])
    """
    _check_call(method.spec, tensors, base, names, settings)
    everything = [*tensors] if base is None else [base, *tensors]
    out = reduce(torch.promote_types, (x.dtype for x in everything))
    work = torch.float64 if out == torch.float64 else torch.float32
    labels = names if names is not None else [str(i) for i in range(len(tensors))]
    first = everything[0]
    job = Job(
        bind(method.spec, settings, len(tensors)),
        first.numel(),
        work,
        tuple(t.stream_key(seed, label, tensor_name) for label in labels),
    )
    if not tensors:
        return first.clone()
    flat_base = None if base is None else base.reshape(-1)
    merged = _merge_flat(method, [x.reshape(-1) for x in tensors], flat_base, job, tile)
    return merged.to(out).reshape(first.shape)


def bind(spec: MethodSpec, settings: Mapping[str, Any], models: int) -> dict[str, Any]:
    """Fill in defaults and shape per-model parameters as float64 `[K]`; Python names as keys."""
    bound: dict[str, Any] = {}
    for param in spec.params:
        value = settings.get(argument(param.name), param.default)
        if param.ignored:
            continue
        if param.per_model:
            values = list(value) if isinstance(value, Sequence | Tensor) else [value] * models
            bound[argument(param.name)] = torch.tensor([float(v) for v in values], dtype=torch.float64)
        else:
            bound[argument(param.name)] = value
    return bound


def _merge_flat(method: Method, values: list[Tensor], base: Tensor | None, job: Job, tile: int | None) -> Tensor:
    ranges = tile_ranges(job.numel, tile)
    if not ranges:
        return values[0].to(job.dtype)

    def stacks() -> Iterator[tuple[int, Tensor]]:
        for start, stop in ranges:
            cut = None if base is None else base[start:stop]
            yield start, stack_of(method, [v[start:stop] for v in values], cut, job.dtype)

    known: Any = None
    done = 0
    while (following := method.measure(job, done, known)) is not None:
        tally = Tally()
        for start, stack in stacks():
            tally.add(following.observe(stack, start, job, known))
        known = following.conclude(tally.total(), job, known)
        done += 1
    pieces = [
        combine_tile(method, stack, None if base is None else base[start : start + stack.shape[1]], start, job, known)
        for start, stack in stacks()
    ]
    return torch.cat(pieces)


def _check_call(
    spec: MethodSpec,
    tensors: Sequence[Tensor],
    base: Tensor | None,
    names: Sequence[str] | None,
    settings: Mapping[str, Any],
) -> None:
    """All faults of a call in memory, raised at once."""
    faults = [*_arity_faults(spec, len(tensors), base is not None)]
    known = {argument(p.name): p for p in spec.params}
    faults += [
        Fault("unknown-parameter", f"{spec.name} has no parameter `{k}`", subject=k, hint=nearest(k, known))
        for k in settings
        if k not in known
    ]
    for name, param in known.items():
        faults += _value_faults(spec, param, settings.get(name), name in settings, len(tensors))
    if not faults:
        faults += _zero_sum_faults(spec, settings, len(tensors))
    shapes = {tuple(x.shape) for x in [*tensors, *([] if base is None else [base])]}
    if len(shapes) > 1:
        faults.append(Fault("shape-mismatch", f"tensors must have one shape; found {sorted(shapes)}"))
    if names is not None and len(names) != len(tensors):
        faults.append(Fault("bad-argument", f"`names` must name {len(tensors)} models; it names {len(names)}"))
    if faults:
        raise UsageError(faults)


def _zero_sum_faults(spec: MethodSpec, settings: Mapping[str, Any], models: int) -> Iterator[Fault]:
    """The weights must not cancel where the result is divided by their sum."""
    bound = bind(spec, settings, models)
    if spec.divides_by is None or not models or not bound["normalize"]:
        return
    weights = bound[spec.divides_by]
    if float(weights.sum().abs()) <= 1e-9 * float(weights.abs().sum()):
        message = f"the weights of {spec.name} are divided by their sum, which is 0; found {weights.tolist()}"
        yield Fault("zero-weight-sum", message, subject="weight", hint="change one, or give `normalize=False`")


def _arity_faults(spec: MethodSpec, models: int, has_base: bool) -> Iterator[Fault]:
    low, high = spec.models
    if models < low or (high is not None and models > high) or (models == 0 and not has_base):
        wanted = f"{low}" if high == low else f"at least {max(low, 1)}" if high is None else f"{low} to {high}"
        yield Fault("wrong-number-of-models", f"{spec.name} takes {wanted} model(s) besides the base; found {models}")
    if spec.base == "required" and not has_base:
        yield Fault("missing-base", f"{spec.name} needs `base`, the tensor the others started from")
    if spec.base == "input" and has_base:
        yield Fault("bad-argument", f"{spec.name} has no base: give it as one of the tensors")


def _value_faults(spec: MethodSpec, param: Param, value: Any, given: bool, models: int) -> Iterator[Fault]:
    if not given or param.ignored:
        if param.required:
            yield Fault("missing-parameter", f"{spec.name} needs `{param.name}`: {param.doc}", subject=param.name)
        return
    many = param.per_model and isinstance(value, Sequence | Tensor) and not isinstance(value, str)
    values = list(value) if many else [value]
    if many and len(values) != models:
        message = f"`{param.name}` must be one number or {models}, one per model; found {len(values)}"
        yield Fault("bad-argument", message, subject=param.name)
    for one in values:
        if param.kind == "bool":
            good = isinstance(one, bool)
        else:
            good = not isinstance(one, bool | str) and param.admits(float(one))
        if not good:
            yield Fault("out-of-range", f"`{param.name}` must be in {param.range}; found {one!r}", subject=param.name)
