"""A model stored in FP8, shown as the float32 tensors that it stands for."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.fp8 import Pairing, Scaling, pair, told
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.quantised import SECTIONS, quantised_sections, recognise, refusal
from cuvee.checkpoint.stored import torch_dtype
from cuvee.checkpoint.view import View
from cuvee.errors import Fault, InputError
from cuvee.families import sections
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

_PIECE: Final = 1 << 17
# Files by which other programs take a folder for a quantised one.
_SIDE_FILES: Final = ("hf_quant_config.json", "quantize_config.json", "quant_config.json", "quantization_config.json")


def as_floats(reader: Reader) -> Reader:
    """The model as plain floats: itself, or FP8 dequantised as it is read; the reader given is closed on refusal.

    Raises:
        InputError: `quantised-input` for every other quantised format; `bad-scale` with every weight and scale that do
            not go together.
    """
    found = recognise(reader.config, reader.specs)
    if found is not None and found.scheme is None:
        reader.close()
        raise InputError(refusal(reader.label, found))
    pairing = pair(reader.label, reader.specs, found.scheme if found else None)
    if pairing.faults:
        reader.close()
        raise InputError(pairing.faults)
    return Dequantised(reader, pairing) if found or pairing.scalings else reader


def said_quantised(reader: Reader) -> str | None:
    """The quantised format of a model as stored, and how it shows; `None` for plain tensors."""
    found = recognise(reader.config, reader.specs)
    if found is not None:
        return f"{found.name} ({found.evidence})"
    scalings = pair(reader.label, reader.specs, None).scalings
    return f"FP8 (tensor {next(iter(scalings))} has a scale)" if scalings else None


class Dequantised(View):
    """A `Reader` over another one: FP8 weights times their scales, as float32, and no scales.

        value = float32(weight) · float32(scale of its block)

    One multiplication in float32, whatever range is read. Only the entries asked for, and the scales of their rows,
    are in memory.

    Args:
        reader: the model as stored.
        pairing: its weights with their scales, without faults.
    """

    def __init__(self, reader: Reader, pairing: Pairing) -> None:
        super().__init__(reader)
        self._scalings = pairing.scalings
        hidden = pairing.unused | {scaling.scale.name for scaling in pairing.scalings.values()}
        nominal = _nominal(reader, hidden)
        self._specs = {
            name: replace(spec, dtype="float32", stored=spec.dtype, nominal=nominal) if name in self._scalings else spec
            for name, spec in reader.specs.items()
            if name not in hidden
        }
        self._shared = {name: first for name, first in _shared(reader.shared, pairing) if name in self._specs}
        self._config = None if reader.config is None else _without(reader.config)
        self._notes = (*reader.notes, *told(pairing))

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor but the scales, in on-disk order; what was FP8 is float32."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one under a second name, with the same scale."""
        return self._shared

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The parsed `config.json`, without what it says of quantisation."""
        return self._config

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files to carry over, without those that would call the output quantised."""
        return tuple(file for file in self._reader.side_files if file.name not in _SIDE_FILES)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the checkpoint was read."""
        return self._notes

    def computes(self, name: str) -> bool:
        """Whether a tensor is dequantised."""
        return name in self._scalings

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor, dequantised."""
        scaling = self._scalings.get(name)
        stored = self._reader.read(name, start, stop)
        if scaling is None:
            return stored
        values = _numbers(stored, scaling.weight.dtype)
        if start < stop:
            self._apply(values, scaling, start)
        return values

    def _apply(self, values: Tensor, scaling: Scaling, start: int) -> None:
        """Multiply the run of elements that begins at `start` by their scales, in place."""
        at, width = start, scaling.shape[2]
        first = start // width
        factors = self._factors(scaling, first, -(-(start + len(values)) // width))
        for run in _runs(values, start, width):
            rows, row = -(-len(run) // width), at // width - first
            _multiply(run.view(rows, -1), factors[row : row + rows], scaling.block[2], at % width)
            at += len(run)

    def _factors(self, scaling: Scaling, first: int, last: int) -> Tensor:
        """The scales of rows `first` to `last` (not included), counted over all axes but the last: one row each."""
        import torch

        _, rows, _ = scaling.shape
        numbers = torch.arange(first, last, device="cpu")
        outer, row = numbers // rows // scaling.block[0], numbers % rows // scaling.block[1]
        lines = outer * scaling.grid[1] + row
        low, high = (int(end) for end in torch.aminmax(lines))
        width = scaling.grid[2]
        read = self._reader.read(scaling.scale.name, low * width, (high + 1) * width)
        factors = read.to(torch.float32).view(-1, width)
        self._check(factors, scaling, low * width)
        return factors[lines - low]

    def _check(self, factors: Tensor, scaling: Scaling, start: int) -> None:
        """Refuse scales that no quantisation makes."""
        wrong = ~((factors >= 0) & factors.isfinite()).view(-1)
        if not wrong.any():
            return
        at = int(wrong.nonzero()[0])
        found = float(factors.view(-1)[at])
        message = f"{self.label}: scales must be finite and not negative; entry {start + at} of "
        message += f"{scaling.scale.name} is {found:g}"
        hint = "the model is damaged: download it again, or make it again with the program that quantised it"
        raise InputError(Fault("bad-scale", message, subject=scaling.scale.name, hint=hint))


def _numbers(codes: Tensor, dtype: str) -> Tensor:
    """FP8 as float32, in pieces: the table is asked in integers of four bytes, for which a whole tensor has no room."""
    import torch

    values = torch.empty(len(codes), dtype=torch.float32, device="cpu")
    numbers = codes.contiguous().view(torch.uint8)
    for start in range(0, len(codes), _PIECE):
        piece = slice(start, start + _PIECE)
        torch.index_select(_table(dtype), 0, numbers[piece].int(), out=values[piece])
    return values


@functools.cache
def _table(dtype: str) -> Tensor:
    """The numbers of all 256 codes of an FP8 dtype; a look into it is several times as fast as torch's own cast."""
    import torch

    return torch.arange(256, dtype=torch.uint8, device="cpu").view(torch_dtype(dtype)).to(torch.float32)


def _runs(values: Tensor, start: int, width: int) -> Iterator[Tensor]:
    """A run of elements that may begin and end inside a row: a part of a row, whole rows, a part of a row."""
    numel = len(values)
    head = min(-start % width, numel)
    whole = (numel - head) // width * width
    for first, last in ((0, head), (head, head + whole), (head + whole, numel)):
        if first < last:
            yield values[first:last]


def _multiply(rows: Tensor, factors: Tensor, block: int, column: int) -> None:
    """Multiply rows, which begin at a column, by one factor for each `block` columns, in place."""
    import torch

    if factors.shape[1] == 1:
        rows.mul_(factors)
    elif len(rows) == 1:
        columns = torch.arange(column, column + rows.shape[1], device="cpu")
        rows.mul_(factors[:, columns // block])
    else:  # whole rows: no factor needs to be repeated
        full = rows.shape[1] // block
        blocks: Tensor = rows[:, : full * block].unflatten(1, (full, block))  # type: ignore[no-untyped-call]
        blocks.mul_(factors[:, :full, None])
        rows[:, full * block :].mul_(factors[:, full:])


def _nominal(reader: Reader, hidden: frozenset[str] | set[str]) -> str | None:
    """The dtype that the weights had before: the configuration's own word, else that of most other floats."""
    said = sections(_without(reader.config or {}))
    words = [section.get(key) for _, section in said for key in ("dtype", "torch_dtype")]
    for word in words:
        if isinstance(word, str) and word in DTYPES and DTYPES[word].kind == "float":
            return word
    counts: dict[str, int] = {}
    for name, spec in reader.specs.items():
        if DTYPES[spec.dtype].kind == "float" and name not in hidden:
            counts[spec.dtype] = counts.get(spec.dtype, 0) + spec.numel
    return max(counts, key=lambda dtype: counts[dtype]) if counts else None


def _shared(shared: Mapping[str, str], pairing: Pairing) -> Iterator[tuple[str, str]]:
    """Second names of tensors whose scales, if they have any, are one as well."""
    for name, first in shared.items():
        own, other = pairing.scalings.get(name), pairing.scalings.get(first)
        scales = [shared.get(s.scale.name, s.scale.name) for s in (own, other) if s]
        if len(scales) != 1 and len(set(scales)) <= 1:
            yield name, first


def _without(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without its sections on quantisation."""
    if not quantised_sections(config):
        return dict(config)
    return {k: _without(v) if isinstance(v, Mapping) else v for k, v in config.items() if k not in SECTIONS}
