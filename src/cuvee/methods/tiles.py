"""Run a method on one tile, and add up what its passes find: what every way of running a method is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cuvee import tensors as t

if TYPE_CHECKING:
    from cuvee.methods.declare import Method
    from cuvee.methods.job import AnyMeasure, Job, Round


def stack_of(method: Method, values: Sequence[Tensor], base: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The stack a method sees, `[K, n]`: values as they are, the base first; or values minus base.

    Args:
        method: which of the two it works on (`spec.space`).
        values: flat tiles of the models, any float dtypes.
        base: flat tile of the base model, if there is one.
        dtype: dtype of the arithmetic.
    """
    is_delta = method.spec.space == "delta"
    rows = list(values) if is_delta or base is None else [base, *values]
    # Rows are filled in place: a list of rows to stack would be written twice, to memory that is new each time.
    stack = torch.empty((len(rows), rows[0].numel()), dtype=dtype, device=rows[0].device)
    for i, value in enumerate(rows):
        stack[i].copy_(value)
    if is_delta:
        assert base is not None, "a delta method without a base"
        stack.sub_(base.to(dtype))
    return stack


def shaped(stack: Tensor, job: Job) -> Tensor:
    """A stack of flat tiles `[K, n]` as the method sees it: `[K, rows, width]` where entries are not enough."""
    return stack.reshape(len(stack), -1, job.width) if job.scope in ("row", "matrix") else stack


def observed(following: Round, stack: Tensor, start: int, job: Job, known: Any) -> Any:
    """What a pass finds in a flat tile."""
    return following.observe(shaped(stack, job), start, job, known)


@contextmanager
def one_thread() -> Iterator[None]:
    """Factorisations and products of matrices give other bytes on other numbers of threads; inside there is one."""
    before = torch.get_num_threads()
    try:
        if before != 1:
            torch.set_num_threads(1)
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def combine_tile(
    method: Method,
    stack: Tensor,
    base: Tensor | None,
    start: int,
    job: Job,
    known: Any,
    collected: Sequence[Tensor] | None = None,
) -> Tensor:
    """The merged tile, `[n]`, in the dtype of the arithmetic, base added for delta methods.

    Args:
        method: the method.
        stack: from `stack_of`.
        base: flat tile of the base model; used by delta methods.
        start: index in the tensor of the tile's first element.
        job: the tensor's settings.
        known: what the last round concluded.
        collected: what was collected of each model.
    """
    given: dict[str, Any] = {"statistics": known, "start": start, "shape": job.shape, "job": job}
    given |= {"whole": job.whole, "collected": collected}
    if "draws" in method.wants:
        seen = shaped(stack, job)
        given["draws"] = t.uniform_like(seen, job.keys, start) if method.spec.draws(job.settings) else None
    # Rounded before they travel, so that the numbers are the same wherever they go.
    settings = {k: v.to(job.dtype).to(stack.device) if isinstance(v, Tensor) else v for k, v in job.settings.items()}
    arguments = {k: v for k, v in (settings | given).items() if k in method.wants}
    with one_thread() if job.scope == "matrix" else nullcontext():
        merged = method.combine(shaped(stack, job), **arguments).reshape(-1)
    if method.spec.space == "weight":
        return merged
    assert base is not None
    return base.to(job.dtype) + merged


def findings(measure: AnyMeasure, job: Job, show: Callable[[Any, Any], Any]) -> Any:
    """What the passes of a method conclude, one after the other, over all of a tensor.

    Args:
        measure: says which pass comes next.
        job: the tensor's settings.
        show: `(round, known) -> what the round finds`, partials of all tiles added up.
    """
    known: Any = None
    done = 0
    while (following := measure(job, done, known)) is not None:
        known = following.conclude(show(following, known), job, known)
        done += 1
    return known


def survey_of(method: Method, job: Job, show: Callable[[Any, Any], Any]) -> Any:
    """What the surveys of a method conclude, one after the other, over all tensors.

    Args:
        method: the method.
        job: the model's job.
        show: `(round, known) -> what the round concludes of every tensor`, added up.
    """
    known: Any = None
    done = 0
    while (following := method.survey(job, done, known)) is not None:
        known = following.conclude(show(following.round, known), job, known)
        done += 1
    return known


def tile_ranges(numel: int, tile: int | None, grain: int = 1) -> list[tuple[int, int]]:
    """Cut `numel` elements into tiles of `tile`, rounded up to whole blocks; one tile when `tile` is `None`.

    Args:
        numel: elements of the tensor.
        tile: elements of a tile, about.
        grain: elements that must stay together, from the first on: `Job.grain`.
    """
    if numel == 0:
        return []
    unit = math.lcm(t.BLOCK, grain)
    step = numel if tile is None else math.ceil(max(1, tile) / unit) * unit
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


def mask_keys(seed: int, models: Sequence[str], tensor: str) -> tuple[int, ...]:
    """The random stream of every model for one tensor; a model that stands there twice has two.

    Args:
        seed: the recipe's seed.
        models: the models' names.
        tensor: the tensor's name.
    """
    before: dict[str, int] = {}
    labels = []
    for model in models:
        before[model] = before.get(model, 0) + 1
        labels.append(model if before[model] == 1 else f"{model}\0{before[model]}")
    return tuple(t.stream_key(seed, label, tensor) for label in labels)
