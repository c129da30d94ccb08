"""Inner products of the models of a tile, block by block: what slerp measures."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuvee.fused.compiler import compiled
from cuvee.fused.numbers import MAGNITUDE, as_number, bits_at
from cuvee.tensors import BLOCK


@compiled
def inner_products(rows: Any, out: Any) -> Any:
    """xᵢ·xⱼ for i ≤ j of every block, in float64, by the tree of `tensors.block_sums`, `[K(K+1)/2, blocks]`."""
    count, n = rows.shape
    values = np.zeros((count, BLOCK), np.float64)
    products = np.empty(BLOCK, np.float64)
    worst = np.uint32(0)
    for block in range(out.shape[1]):
        at, stop = block * BLOCK, min((block + 1) * BLOCK, n)
        for k in range(count):
            worst = max(worst, _load_wide(rows[k, at:stop], values[k]))
        pair = 0
        for i in range(count):
            for j in range(i, count):
                for e in range(BLOCK):
                    products[e] = values[i, e] * values[j, e]
                out[pair, block] = _tree_sum(products)
                pair += 1
    return worst


@compiled
def _load_wide(row: Any, into: Any) -> Any:
    """The entries of a row as float64, filled up with zeros."""
    worst = np.uint32(0)
    for i in range(len(row)):
        bits = np.uint32(bits_at(row, i))
        worst = max(worst, np.uint32(bits & MAGNITUDE))
        into[i] = np.float64(as_number(bits))
    for i in range(len(row), BLOCK):
        into[i] = 0.0
    return worst


@compiled
def _tree_sum(values: Any) -> Any:
    """The sum of a block by halves; what is given is used up."""
    width = BLOCK
    while width > 1:
        width //= 2
        for i in range(width):
            values[i] = values[i] + values[i + width]
    return values[0]
