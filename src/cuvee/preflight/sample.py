"""Which entries of which tensors are read: some rows of each, chosen by a seed within a budget; small tensors whole."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.families import is_optional, natural_key, spot_of
from cuvee.preflight.facts import Sample
from cuvee.types import DTYPES

BUDGET: Final = 64 << 20
"""Bytes read of one model, unless asked otherwise: a few seconds on a slow disk."""
_LONGEST: Final = 1 << 16
"""Entries of a row that is still read as one."""
_BLOCK: Final = 1 << 12
"""Entries read together where there are no rows, or too long ones."""
_PIECE: Final = 1 << 20
"""Entries held at a time."""
_COARSE_FIRST: Final = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Share:
    """What is read of one tensor that several models have alike.

    Attributes:
        name: the tensor.
        shape: its shape.
        holders: numbers of the models that have it in this shape.
        dtype: the coarsest of its dtypes, which all are rounded to: rounding is no change.
        unit: entries of a row, or of a block where there are none.
        units: numbers of the rows that are read, ascending.
    """

    name: str
    shape: tuple[int, ...]
    holders: tuple[int, ...]
    dtype: str
    unit: int
    units: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Entries of the tensor."""
        return torch.Size(self.shape).numel()

    @property
    def entries(self) -> int:
        """Entries that are read."""
        return sum(stop - start for start, stop in self.runs())

    @property
    def is_whole(self) -> bool:
        """Whether all are."""
        return len(self.units) == -(-self.numel // self.unit)

    @property
    def is_matrix(self) -> bool:
        """Whether it has rows and columns: what vectors hold (norms, biases) is alike in models that are strangers."""
        return len(self.shape) > 1

    @property
    def layer(self) -> str:
        """Name of its layer; `outside` where it is in none."""
        spot = spot_of(self.name)
        return f"{spot.prefix}.{spot.index}" if spot else "outside"

    def runs(self) -> Iterator[tuple[int, int]]:
        """First and last entry (not included) of every run of rows, none longer than a piece but by one row."""
        most = max(1, _PIECE // self.unit)
        at = 0
        while at < len(self.units):
            end = at + 1
            while end < len(self.units) and end - at < most and self.units[end] == self.units[end - 1] + 1:
                end += 1
            yield self.units[at] * self.unit, min((self.units[end - 1] + 1) * self.unit, self.numel)
            at = end

    def pieces(self) -> Iterator[tuple[tuple[int, int], ...]]:
        """The runs, as many at a time as make a piece."""
        held: list[tuple[int, int]] = []
        for run in self.runs():
            if held and sum(stop - start for start, stop in held) + run[1] - run[0] > _PIECE:
                yield tuple(held)
                held = []
            held.append(run)
        if held:
            yield tuple(held)


def shares_of(readers: Sequence[Reader], budget: int, seed: int) -> tuple[Share, ...]:
    """The sample: of every tensor of floats that at least two models have in one shape, at least one row.

    Args:
        readers: all models, candidates for the base among them.
        budget: bytes of one model.
        seed: of the choice of rows.
    """
    found = sorted(_comparable(readers), key=lambda share: (share.numel, natural_key(share.name)))
    chosen: list[Share] = []
    left = float(budget)
    for number, share in enumerate(found):  # what small ones leave of their part goes to larger ones
        size = DTYPES[share.dtype].size * share.unit
        rows = -(-share.numel // share.unit)
        count = min(rows, max(1, int(left / (len(found) - number) / size)))
        left -= count * size
        chosen.append(_with_units(share, rows, count, seed))
    return tuple(sorted(chosen, key=lambda share: natural_key(share.name)))


def _comparable(readers: Sequence[Reader]) -> Iterator[Share]:
    holders: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for number, reader in enumerate(readers):
        for name, spec in reader.specs.items():
            if DTYPES[spec.dtype].kind == "float" and spec.numel and not is_optional(name):
                holders[name, spec.shape].append(number)
    for (name, shape), numbers in holders.items():
        if len(numbers) > 1:
            dtypes = {readers[n].specs[name].dtype for n in numbers}
            yield Share(name, shape, tuple(numbers), min(dtypes, key=_COARSE_FIRST.index), _unit(shape), ())


def _unit(shape: tuple[int, ...]) -> int:
    row = torch.Size(shape[1:]).numel()
    return row if len(shape) > 1 and row <= _LONGEST else _BLOCK


def _with_units(share: Share, rows: int, count: int, seed: int) -> Share:
    """The share with rows chosen: the same for the same seed, name and count, whatever other tensors there are."""
    units = range(rows) if count == rows else sorted(random.Random(f"{seed}/{share.name}").sample(range(rows), count))
    return Share(share.name, share.shape, share.holders, share.dtype, share.unit, tuple(units))


def told(shares: Sequence[Share], seed: int) -> Sample:
    """The sample in figures."""
    return Sample(
        entries=sum(share.entries for share in shares),
        of=sum(share.numel for share in shares),
        nbytes=sum(share.entries * DTYPES[share.dtype].size for share in shares),
        whole=sum(share.is_whole for share in shares),
        tensors=len(shares),
        seed=seed,
    )


def stack(readers: Sequence[Reader], share: Share, models: Sequence[int], runs: Sequence[tuple[int, int]]) -> Tensor:
    """The same entries of several models, rounded to the coarsest dtype, `[models, entries]` in float64."""
    dtype = getattr(torch, share.dtype)
    rows = [torch.cat([readers[m].read(share.name, *run).to(dtype).double() for run in runs]) for m in models]
    return torch.stack(rows)
