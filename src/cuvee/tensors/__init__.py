"""Arithmetic shared by the merge methods: plain functions over stacks of tensors.

The names are loaded on first use, so that a method can be *declared* without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.tensors.affine import combine_from_base, less_base, per_model, total_weight, weighted_sum
    from cuvee.tensors.blocks import BLOCK, Blocks, Counts, block_sums
    from cuvee.tensors.consensus import agreeing_weight, agreement, spread
    from cuvee.tensors.geometry import gram, gram_blocks, slerp_coefficients, square_blocks
    from cuvee.tensors.quadratic import damp, solve, solve_diagonal, solve_own
    from cuvee.tensors.random import stream_key, uniform
    from cuvee.tensors.rounding import round_to
    from cuvee.tensors.rows import divergences, row_products, row_sums
    from cuvee.tensors.sparsify import (
        Cut,
        cut_margin,
        digit_counts,
        digit_width,
        digits_in,
        edges_of,
        equal_counts,
        keep_above,
        keep_below,
        keep_drawn,
        keep_largest,
        keep_probabilities,
        keep_where,
        magnitude_bits,
        magnitude_from_bits,
        next_digit,
    )
    from cuvee.tensors.sphere import (
        arc_coefficients,
        directions_of,
        karcher_coefficients,
        multislerp_coefficients,
        stock_ratio,
    )

_HOME = {
    "combine_from_base": "affine",
    "less_base": "affine",
    "per_model": "affine",
    "total_weight": "affine",
    "weighted_sum": "affine",
    "BLOCK": "blocks",
    "Blocks": "blocks",
    "Counts": "blocks",
    "block_sums": "blocks",
    "agreement": "consensus",
    "agreeing_weight": "consensus",
    "spread": "consensus",
    "gram": "geometry",
    "gram_blocks": "geometry",
    "slerp_coefficients": "geometry",
    "square_blocks": "geometry",
    "damp": "quadratic",
    "solve": "quadratic",
    "solve_diagonal": "quadratic",
    "solve_own": "quadratic",
    "stream_key": "random",
    "uniform": "random",
    "round_to": "rounding",
    "divergences": "rows",
    "row_products": "rows",
    "row_sums": "rows",
    "Cut": "sparsify",
    "cut_margin": "sparsify",
    "digit_counts": "sparsify",
    "digit_width": "sparsify",
    "digits_in": "sparsify",
    "edges_of": "sparsify",
    "equal_counts": "sparsify",
    "keep_above": "sparsify",
    "keep_below": "sparsify",
    "keep_drawn": "sparsify",
    "keep_probabilities": "sparsify",
    "keep_largest": "sparsify",
    "keep_where": "sparsify",
    "magnitude_bits": "sparsify",
    "magnitude_from_bits": "sparsify",
    "next_digit": "sparsify",
    "arc_coefficients": "sphere",
    "directions_of": "sphere",
    "karcher_coefficients": "sphere",
    "multislerp_coefficients": "sphere",
    "stock_ratio": "sphere",
}

__all__ = [
    "BLOCK",
    "Blocks",
    "Counts",
    "Cut",
    "agreeing_weight",
    "agreement",
    "arc_coefficients",
    "block_sums",
    "combine_from_base",
    "cut_margin",
    "damp",
    "digit_counts",
    "digit_width",
    "digits_in",
    "directions_of",
    "divergences",
    "edges_of",
    "equal_counts",
    "gram",
    "gram_blocks",
    "karcher_coefficients",
    "keep_above",
    "keep_below",
    "keep_drawn",
    "keep_largest",
    "keep_probabilities",
    "keep_where",
    "less_base",
    "magnitude_bits",
    "magnitude_from_bits",
    "multislerp_coefficients",
    "next_digit",
    "per_model",
    "round_to",
    "row_products",
    "row_sums",
    "slerp_coefficients",
    "solve",
    "solve_diagonal",
    "solve_own",
    "spread",
    "square_blocks",
    "stock_ratio",
    "stream_key",
    "total_weight",
    "uniform",
    "weighted_sum",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"cuvee.tensors.{_HOME[name]}"), name)
    raise AttributeError(f"module 'cuvee.tensors' has no attribute {name!r}")
