"""Gram matrices: second moments of the inputs of every linear map, G = E[x xᵀ], padding left out.

    G_W = (1 / rows) Σ x xᵀ    over the rows x that W was applied to

Activations are float32, as the model is run; products and sums are float64. RegMean (arXiv:2212.09849) asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cuvee.collecting.samples import Batch
from cuvee.collecting.weights import Linear
from cuvee.families.running import Running


@dataclass
class Moment:
    """A growing sum of `x xᵀ` and the number of rows in it."""

    total: Tensor
    rows: int = 0

    @property
    def mean(self) -> Tensor:
        """`[n, n]`, float64."""
        return self.total / self.rows


@dataclass
class Moments:
    """What was found for linear maps.

    Attributes:
        of: name of a weight in memory → its moment; those never applied are missing.
        unclear: names of weights whose inputs could not be told from padding.
    """

    of: dict[str, Moment] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)
    _last: tuple[Tensor, Tensor, int] | None = None

    def add(self, linear: Linear, inputs: Tensor, batch: Batch) -> None:
        """Take in the inputs of one application."""
        if linear.name in self.unclear:
            return
        product, rows = self._product(inputs, batch)
        if product is None:
            self.unclear.add(linear.name)
            self.of.pop(linear.name, None)
        elif rows:
            moment = self.of.setdefault(linear.name, Moment(torch.zeros_like(product)))
            moment.total += product
            moment.rows += rows

    def forget_inputs(self) -> None:
        """Let go of the inputs looked at last."""
        self._last = None

    def _product(self, inputs: Tensor, batch: Batch) -> tuple[Tensor | None, int]:
        """`Σ x xᵀ` and the rows in it; that of queries serves keys and values, which have the very same inputs."""
        if self._last is not None and self._last[0] is inputs:
            return self._last[1], self._last[2]
        rows = rows_of(inputs.detach(), batch)
        if rows is None:
            return None, 0
        wide = rows.double()
        product = wide.mT @ wide
        self._last = (inputs, product, len(rows))
        return product, len(rows)


def rows_of(inputs: Tensor, batch: Batch) -> Tensor | None:
    """The inputs of a linear map one below the other, `[rows, n]`, without those of padding.

    Returns:
        `None` where there is padding and the shape does not tell which rows are of it.
    """
    flat = inputs.reshape(-1, inputs.shape[-1])
    if not batch.padded or (inputs.dim() == 2 and len(inputs) == len(batch.mask)):
        return flat
    if inputs.shape[:-1] == batch.mask.shape or (inputs.dim() == 2 and len(inputs) == batch.mask.numel()):
        return flat[batch.mask.reshape(-1)]
    return None


class _Enough(Exception):
    """All that was asked for has been seen."""


def gather(
    running: Running,
    wanted: Mapping[str, Linear],
    batches: Iterable[Batch],
    *,
    last: tuple[nn.Module, int] | None = None,
    after: Callable[[int], None] | None = None,
) -> Moments:
    """Run a model over batches and gather the moments of some of its linear maps.

    Args:
        running: the model.
        wanted: the linear maps.
        batches: the data.
        last: a module and how often it is called: nothing after its last call is run.
        after: told the samples of every batch that is done.
    """
    found = Moments()
    now: list[Batch] = []
    modules = dict(running.model.named_modules())
    hooks = [(modules[name], linear) for linear in wanted.values() for name in linear.modules]
    with torch.no_grad(), _hooked(hooks, lambda linear, x: found.add(linear, x, now[0])), _stopping(last) as reset:
        for batch in batches:
            now[:] = [batch]
            reset()
            with suppress(_Enough):
                forward(running, batch)
            found.forget_inputs()
            if after is not None:
                after(len(batch.ids))
    return found


def forward(running: Running, batch: Batch) -> Any:
    """What a model makes of a batch."""
    more = {"use_cache": False} if running.head == "causal-lm" else {}
    return running.model(input_ids=batch.ids, attention_mask=batch.mask.long(), **more)


@contextmanager
def _hooked(hooks: Sequence[tuple[nn.Module, Linear]], see: Callable[[Linear, Tensor], None]) -> Iterator[None]:
    """While the block runs, inputs of modules are shown to `see` before they are used."""

    def hook_for(linear: Linear) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            see(linear, given[0] if given else next(iter(named.values())))

        return hook

    handles = [module.register_forward_pre_hook(hook_for(linear), with_kwargs=True) for module, linear in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _stopping(last: tuple[nn.Module, int] | None) -> Iterator[Callable[[], None]]:
    """While the block runs, a forward pass ends behind the last call of a module; the yielded call starts the count."""
    calls = [0]

    def reset() -> None:
        calls[0] = 0

    def hook(_module: nn.Module, _given: Any, _out: Any) -> None:
        calls[0] += 1
        if last is not None and calls[0] >= last[1]:
            raise _Enough

    handle = None if last is None else last[0].register_forward_hook(hook)
    try:
        yield reset
    finally:
        if handle is not None:
            handle.remove()
