"""Whether one model is another with its units in another order.

Rows are paired with those that they are nearest to, and only where either is the other's nearest. That is greedy, and
an optimal assignment is not needed: a row of a permuted copy has one partner that stands out, whereas rows in no
relation have none, however they are assigned. What pairs by chance is found out with the same matrix, its entries
shuffled.

Where columns have another order as well (a permuted residual stream), rows cannot be compared as they stand. Then they
are paired by their sorted entries first, which no order of columns changes, columns by what the paired rows say, and
rows once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.families import is_vocabulary
from cuvee.preflight.facts import Match
from cuvee.preflight.rules import STRANGE_COSINE
from cuvee.preflight.sums import TensorSums

_MATRICES: Final = 3
"""Matrices that are tried, of the layer that has most strange ones."""
_LEAST: Final = 16
"""Rows and columns of a matrix that can say anything."""
_READ: Final = 1 << 26
"""Entries of a matrix that is read whole for this, a piece at a time."""
_HELD: Final = 1 << 22
"""Entries that are held: of larger matrices the leading columns, which tell their rows' order."""
_BLOCK: Final = 1024
"""Rows compared with all others at a time."""


def strange(sums: Sequence[TensorSums], a: int, b: int) -> list[TensorSums]:
    """The matrices in which two models have nothing in common."""
    found = [s for s in sums if {a, b} <= set(s.share.holders) and s.share.is_matrix]
    return [s for s in found if (cosine := s.cosine(a, b)) is not None and abs(cosine) < STRANGE_COSINE.limit]


def best_match(
    readers: Sequence[Reader], sums: Sequence[TensorSums], a: int, b: int, seed: int, most: int = _MATRICES
) -> Match | None:
    """The strongest evidence among some strange matrices of one layer; `None` where none can be looked at."""
    layers: dict[str, list[TensorSums]] = {}
    for one in sums:
        shape = one.share.shape
        if len(shape) == 2 and min(shape) >= _LEAST and one.share.numel <= _READ and not is_vocabulary(one.share.name):
            layers.setdefault(one.share.layer, []).append(one)
    if not layers:
        return None
    chosen = max(layers.values(), key=len)[:most]
    found = [_match(*_read(readers, one, (a, b)), seed, one) for one in chosen]
    return max(found, key=lambda match: match.fall)


def _match(a: Tensor, b: Tensor, seed: int, one: TensorSums) -> Match:
    """Of a matrix whose columns are not all held, rows alone are told: columns could be anywhere."""
    found = match(a, b, seed, rows_only=a.shape[1] < one.share.shape[1])
    return replace(found, tensor=one.share.name)


def _read(readers: Sequence[Reader], one: TensorSums, models: Sequence[int]) -> tuple[Tensor, Tensor]:
    rows, width = one.share.shape
    kept, step = min(width, max(_LEAST, _HELD // rows)), max(1, (1 << 20) // width)
    made = []
    for model in models:
        pieces = [
            readers[model].read(one.share.name, at * width, min(at + step, rows) * width).reshape(-1, width)[:, :kept]
            for at in range(0, rows, step)
        ]
        made.append(torch.cat([piece.float() for piece in pieces]).nan_to_num(0.0, 0.0, 0.0))
    return made[0], made[1]


def match(a: Tensor, b: Tensor, seed: int = 0, *, rows_only: bool = False) -> Match:
    """How well the rows, or columns, of two matrices match in another order, and how well by chance.

    Args:
        a: `[m, n]`.
        b: `[m, n]`.
        seed: of the shuffling.
        rows_only: look for another order of rows alone.
    """
    order = torch.randperm(b.numel(), generator=torch.Generator().manual_seed(seed))
    shuffled = b.flatten()[order].reshape(b.shape)
    by_chance, matched = ((_paired(a, x)[0] if rows_only else _matched(a, x)) for x in (shuffled, b))
    as_they_are = max(float((_unit(x) * _unit(y)).sum(1).mean()) for x, y in ((a, b), (a.T, b.T)))
    norms = min(_norms(a, b), _norms(a.T, b.T))
    fall = 1 - (1 - matched) / (1 - by_chance) if by_chance < 1 else 0.0
    return Match("", norms, as_they_are, matched, by_chance, fall)


def _matched(a: Tensor, b: Tensor) -> float:
    """The best of: rows in another order; columns; both."""
    return max(_paired(a, b)[0], _paired(a.T, b.T)[0], _both_ways(a, b), _both_ways(a.T, b.T))


def _both_ways(a: Tensor, b: Tensor) -> float:
    rows = _partners(a.sort(1).values, b.sort(1).values)
    columns = _partners(_unit(a.T), _unit(b[rows].T))
    return _paired(a, b[:, columns])[0]


def _paired(a: Tensor, b: Tensor) -> tuple[float, Tensor]:
    """Mean cosine of mutual partners, 0 for rows without, and the partners."""
    x, y = _unit(a), _unit(b)
    forth, back = _partners(x, y), _partners(y, x)
    mutual = back[forth] == torch.arange(len(x))
    return float(((x * y[forth]).sum(1) * mutual).mean()), forth


def _partners(x: Tensor, y: Tensor) -> Tensor:
    """The row of `y` nearest to each of `x`."""
    nearest = [torch.cdist(x[at : at + _BLOCK], y).argmin(1) for at in range(0, len(x), _BLOCK)]
    return torch.cat(nearest)


def _unit(rows: Tensor) -> Tensor:
    length: Tensor = rows.square().sum(1, keepdim=True).sqrt()
    return rows / length.clamp_min(1e-30)


def _norms(a: Tensor, b: Tensor) -> float:
    x, y = (t.norm(dim=1).sort().values for t in (a, b))
    return float((x - y).norm() / x.norm().clamp_min(1e-30))
