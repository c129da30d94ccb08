"""A base with an adapter applied, worked out while it is read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.adapter_fit import Fit, Placed
from cuvee.checkpoint.flat import check_range
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.low_rank import Factors, add_change, norms
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.stored import torch_dtype
from cuvee.checkpoint.view import View
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FACTORS_LIMIT: Final = 64 << 20
"""Bytes of factors that are kept between tiles; of those used last, at least one module's are."""


class Adapted(View):
    """A `Reader` of a base with an adapter applied.

        W' = W + s · B · A                                      LoRA
        W' = m ⊙ (W + s · B · A) / ‖W + s · B · A‖              DoRA; the norm is that of each output's weights

    In float32, float64 where base or adapter is, and rounded once to the base's dtype. Whole tensors and rows of tokens
    take the place of the base's; biases of B are added to them. A tensor that the adapter does not name is the base's,
    byte for byte, and so is one whose B is nought.

    Args:
        base: the model, as plain floats; it is closed with this.
        adapter: the adapter; likewise.
        fit: what it changes, without faults.
        label: the model's name in messages.
        notes: what is to be told besides.
    """

    def __init__(self, base: Reader, adapter: Adapter, fit: Fit, label: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(base)
        self._adapter = adapter
        self._fit = fit
        self._label = label
        self._notes = (*base.notes, *adapter.notes, *fit.notes, *notes)
        added = {name: replace(spec, name=name) for name, spec in fit.whole.items() if name not in base.specs}
        self._specs = {**base.specs, **added}
        touched = fit.touched
        self._shared = {n: first for n, first in base.shared.items() if not {n, first} & touched}
        self._lock = threading.Lock()
        self._factors: OrderedDict[str, Factors | None] = OrderedDict()
        self._lengths: dict[str, Tensor] = {}

    @property
    def adapter(self) -> Adapter:
        """The adapter, opened."""
        return self._adapter

    @property
    def fit(self) -> Fit:
        """What it changes."""
        return self._fit

    @property
    def label(self) -> str:
        """The model's name in messages."""
        return self._label

    @property
    def folder(self) -> Path | None:
        """The adapter's: what lies in the base's is another model."""
        return self._adapter.folder

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The base's tensors, and heads that only the adapter has."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Second names in the base of tensors that the adapter leaves alone."""
        return self._shared

    @property
    def notes(self) -> tuple[str, ...]:
        """How base and adapter were read."""
        return self._notes

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The files of the base, and those of the adapter with the tensors that depend on them."""
        own = [replace(file, tensors=self._fit.touched) for file in self._adapter.input_files]
        return (*self._reader.input_files, *own)

    @property
    def nbytes_beside(self) -> int:
        """Bytes that are read besides the tensors' own."""
        return sum(spec.nbytes for spec in self._adapter.specs.values()) + getattr(self._reader, "nbytes_beside", 0)

    @property
    def held(self) -> int:
        """What base and adapter hold, the factors that are kept, and DoRA's norms."""
        placed = self._fit.changes.values()
        largest = max((_factor_bytes(one) for one in placed), default=0)
        all_of_them = sum(_factor_bytes(one) for one in placed)
        kept = max(min(all_of_them, FACTORS_LIMIT), largest)
        lengths = sum(8 * one.change.magnitude.numel for one in placed if one.change.magnitude is not None)
        return self._reader.held + self._adapter.held + kept + lengths

    def computes(self, name: str) -> bool:
        """Whether the adapter changes a tensor."""
        return name in self._fit.touched

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor, with the adapter applied."""
        from cuvee.tensors import round_to

        if not self.computes(name):
            return self._reader.read(name, start, stop)
        spec = self._specs[name]
        check_range(name, start, stop, spec.numel)
        values = self._before(name, start, stop)
        placed = self._fit.changes.get(name)
        if placed is not None and (factors := self._factors_of(name, placed)) is not None:
            values = self._changed(name, placed, factors, values.to(factors.left.dtype), start)
        if (change := self._fit.biases.get(name)) is not None and change.bias is not None:
            added = self._adapter.read_range(change.bias.name, start, stop)
            dtype = _work(values, added)
            values = values.to(dtype) + added.to(dtype) * change.scale
        dtype = torch_dtype(spec.dtype)
        return values if values.dtype == dtype else round_to(values, dtype)

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""
        self._reader.check_unchanged()
        self._adapter.check_unchanged()

    def close(self) -> None:
        """Let go of base and adapter."""
        self._reader.close()
        self._adapter.close()

    def _before(self, name: str, start: int, stop: int) -> Tensor:
        """A run of a tensor as it is before a change of low rank: the base's, or what the adapter puts in its place."""
        whole, rows = self._fit.whole.get(name), self._fit.rows.get(name)
        if whole is not None:
            return self._adapter.read_range(whole.name, start, stop)
        values = self._reader.read(name, start, stop)
        if rows is None:
            return values
        width = rows.spec.shape[1]
        values = values.clone()
        for i, token in enumerate(rows.tokens):
            first, last = max(token * width, start), min((token + 1) * width, stop)
            if first < last:
                at = (i - token) * width
                values[first - start : last - start] = self._adapter.read_range(rows.spec.name, first + at, last + at)
        return values

    def _changed(self, name: str, placed: Placed, factors: Factors, values: Tensor, start: int) -> Tensor:
        """A run of W', not rounded."""
        values = add_change(values, start, factors)
        if placed.change.magnitude is None:
            return values
        lengths = self._lengths_of(name, placed, factors)
        width = self._specs[name].shape[1]
        return values * _per_entry(lengths, start, len(values), width, placed.turned)

    def _lengths_of(self, name: str, placed: Placed, factors: Factors) -> Tensor:
        """M / ‖W + s · B · A‖ of every output, found once by reading the whole weight."""
        with self._lock:
            found = self._lengths.get(name)
        magnitude = placed.change.magnitude
        if found is None and magnitude is not None:
            rows, width = self._specs[name].shape
            dtype = factors.left.dtype
            found = self._adapter.read(magnitude.name).double() / norms(
                lambda start, stop: add_change(self._before(name, start, stop).to(dtype), start, factors),
                (rows, width),
                by_column=placed.turned,
            )
            found = found.to(dtype)
            with self._lock:
                self._lengths[name] = found
        assert found is not None
        return found

    def _factors_of(self, name: str, placed: Placed) -> Factors | None:
        """The factors of a tensor's change, kept while there is room; `None` where they are known to change nothing."""
        with self._lock:
            if name in self._factors:
                self._factors.move_to_end(name)
                return self._factors[name]
        made = self._load(name, placed)
        with self._lock:
            self._factors[name] = made
            self._factors.move_to_end(name)
            kept = [one.nbytes if one else 0 for one in self._factors.values()]
            while sum(kept) > FACTORS_LIMIT and len(kept) > 1:
                self._factors.popitem(last=False)
                kept.pop(0)
        return made

    def _load(self, name: str, placed: Placed) -> Factors | None:
        change = placed.change
        a, b = self._adapter.read(change.a.name), self._adapter.read(change.b.name)
        if change.magnitude is None and not bool(b.any()):
            return None
        dtype = _work(self._reader.read(name, 0, 0) if name in self._reader.specs else a, a, b)
        left, right = (a.mT, b.mT) if placed.turned else (b, a)
        return Factors(left.to(dtype).contiguous(), right.to(dtype).contiguous(), change.scale)


def _per_entry(lengths: Tensor, start: int, count: int, width: int, turned: bool) -> Tensor:
    """The factor of each entry of a run: that of its column where outputs are columns, else that of its row."""
    import torch

    at = torch.arange(start, start + count, device="cpu")
    return lengths[at % width if turned else at // width]


def _work(*tensors: Tensor) -> torch.dtype:
    """The dtype to work in."""
    import torch

    return torch.float64 if any(one.dtype == torch.float64 for one in tensors) else torch.float32


def _factor_bytes(placed: Placed) -> int:
    size = 8 if "float64" in (placed.change.a.dtype, placed.change.b.dtype) else 4
    return size * (placed.change.a.numel + placed.change.b.numel)
