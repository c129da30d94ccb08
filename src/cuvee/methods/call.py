"""A method called on tensors in memory: the same arithmetic, tile by tile, without a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cuvee.methods.arguments import check_call, numbers
from cuvee.methods.job import Job, Round, argument
from cuvee.methods.tiles import (
    Tally,
    combine_tile,
    findings,
    mask_keys,
    observed,
    stack_of,
    survey_of,
    tile_ranges,
)
from cuvee.types import MethodSpec

if TYPE_CHECKING:
    from cuvee.methods.declare import Method


def merge_tensors(
    method: Method,
    tensors: Sequence[Tensor],
    *,
    base: Tensor | None = None,
    names: Sequence[str] | None = None,
    tensor_name: str = "",
    seed: int = 0,
    tile: int | None = None,
    collected: Sequence[Tensor] | None = None,
    **settings: Any,
) -> Tensor:
    """Merge tensors of one shape in memory.

    Args:
        method: the method.
        tensors: the models' tensors, all of one shape, any float dtypes; the base is not among them.
        base: the base model's tensor, for methods that have one.
        names: the models' names, which random masks depend on; `0`, `1`, … by default.
        tensor_name: the tensor's name, which random masks depend on.
        seed: seed of random masks, any integer.
        tile: elements per tile, rounded up to a multiple of 1024; `None` takes the tensor whole. Changes nothing but
            memory.
        collected: what was collected of each model about this tensor (`cuvee collect`), for methods that read it: for
            `fisher` of the tensors' shape, for `gram` `[n, n]` with n the entries of a row.
        settings: the method's parameters; per-model ones as one number or one per model (a list, tuple, array or
            tensor); `lambda` is `lambda_`.

    Returns:
        The merged tensor, in the inputs' common dtype.

    Raises:
        UsageError: unknown or missing parameters, values out of range, wrong number of tensors, different shapes,
            tensors that are not of a float dtype.

    Example:
        >>> import torch
        >>> from cuvee import methods
        >>> methods.get("linear")([torch.zeros(2), torch.ones(2)], weight=[1, 3])
        tensor([0.7500, 0.7500])
    """
    tensors = list(tensors)
    check_call(method.spec, tensors, base, settings, names=names, seed=seed, tile=tile, collected=collected)
    everything = [*tensors] if base is None else [base, *tensors]
    out = reduce(torch.promote_types, (x.dtype for x in everything))
    work = torch.float64 if out == torch.float64 else torch.float32
    labels = names if names is not None else [str(i) for i in range(len(tensors))]
    first = everything[0]
    bound = bind(method.spec, settings, len(tensors), first.device)
    keys, scope = mask_keys(seed, labels, tensor_name), method.spec.scope_for(bound)
    job = Job(bound, first.numel(), work, keys, tuple(first.shape), scope)
    if not tensors:
        return first.clone()
    flat_base = None if base is None else base.reshape(-1)
    merged = _merge_flat(method, [x.reshape(-1) for x in tensors], flat_base, job, tile, collected)
    return merged.to(out).reshape(first.shape)


def bind(spec: MethodSpec, settings: Mapping[str, Any], models: int, device: torch.device) -> dict[str, Any]:
    """Fill in defaults and shape per-model parameters as float64 `[K]` on the tensors' device; Python names as keys."""
    bound: dict[str, Any] = {}
    for param in spec.params:
        if param.ignored:
            continue
        value = settings.get(argument(param.name), param.default)
        if param.per_model:
            values = numbers(value)
            spread = values if isinstance(values, list) else [values] * models
            row = torch.tensor([float(v) for v in spread], dtype=torch.float64, device=device)
            bound[argument(param.name)] = row
        else:
            bound[argument(param.name)] = bool(value) if param.kind == "bool" else value
    return bound


def _merge_flat(
    method: Method,
    values: list[Tensor],
    base: Tensor | None,
    job: Job,
    tile: int | None,
    collected: Sequence[Tensor] | None,
) -> Tensor:
    ranges = tile_ranges(job.numel, tile, job.grain)
    if not ranges:
        return values[0].to(job.dtype)

    def stacks() -> Iterator[tuple[int, Tensor]]:
        for start, stop in ranges:
            cut = None if base is None else base[start:stop]
            yield start, stack_of(method, [v[start:stop] for v in values], cut, job.dtype)

    def shown(following: Round, known: Any) -> Any:
        tally = Tally()
        for start, stack in stacks():
            tally.add(observed(following, stack, start, job, known))
        return tally.total()

    def surveyed(following: Round, known: Any) -> Any:
        return following.conclude(shown(following, known), job, known)

    job = replace(job, whole=survey_of(method, job, surveyed))
    known = findings(method.measure, job, shown)
    pieces = []
    for start, stack in stacks():
        stop = start + stack.shape[1]
        part = None if base is None else base[start:stop]
        pieces.append(combine_tile(method, stack, part, start, job, known, cut(method, collected, start, stop)))
    return torch.cat(pieces)


def cut(method: Method, collected: Sequence[Tensor] | None, start: int, stop: int) -> list[Tensor] | None:
    """What was collected, of these entries where there is one number for each."""
    if collected is None:
        return None
    return [one.reshape(-1)[start:stop] if method.spec.collected == "fisher" else one for one in collected]
