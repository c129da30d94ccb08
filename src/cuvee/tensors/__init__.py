"""Arithmetic shared by the merge methods: plain functions over stacks of tensors.

The names are loaded on first use, so that a method can be *declared* without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.tensors.affine import combine_from_base, less_base, per_model, total_weight, weighted_sum
    from cuvee.tensors.blocks import BLOCK, Blocks, Counts, Extremes, block_sums
    from cuvee.tensors.competition import competition_scores, mean_by_score
    from cuvee.tensors.consensus import agreeing_weight, agreement, spread
    from cuvee.tensors.distances import Addends, apart_blocks, krum_order, median_coefficients
    from cuvee.tensors.elementary import exp, tanh
    from cuvee.tensors.geometry import gram, gram_blocks, slerp_coefficients, slerp_unit_coefficients, square_blocks
    from cuvee.tensors.order import largest_magnitude, sorted_models, users_of
    from cuvee.tensors.quadratic import damp, solve, solve_diagonal, solve_own
    from cuvee.tensors.random import stream_key, uniform, uniform_like
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
        keep_between,
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
        stock_ratio_of_angles,
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
    "Extremes": "blocks",
    "block_sums": "blocks",
    "competition_scores": "competition",
    "mean_by_score": "competition",
    "agreeing_weight": "consensus",
    "agreement": "consensus",
    "spread": "consensus",
    "Addends": "distances",
    "apart_blocks": "distances",
    "krum_order": "distances",
    "median_coefficients": "distances",
    "exp": "elementary",
    "tanh": "elementary",
    "gram": "geometry",
    "gram_blocks": "geometry",
    "slerp_coefficients": "geometry",
    "slerp_unit_coefficients": "geometry",
    "square_blocks": "geometry",
    "largest_magnitude": "order",
    "sorted_models": "order",
    "users_of": "order",
    "damp": "quadratic",
    "solve": "quadratic",
    "solve_diagonal": "quadratic",
    "solve_own": "quadratic",
    "stream_key": "random",
    "uniform": "random",
    "uniform_like": "random",
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
    "keep_between": "sparsify",
    "keep_drawn": "sparsify",
    "keep_largest": "sparsify",
    "keep_probabilities": "sparsify",
    "keep_where": "sparsify",
    "magnitude_bits": "sparsify",
    "magnitude_from_bits": "sparsify",
    "next_digit": "sparsify",
    "arc_coefficients": "sphere",
    "directions_of": "sphere",
    "karcher_coefficients": "sphere",
    "multislerp_coefficients": "sphere",
    "stock_ratio": "sphere",
    "stock_ratio_of_angles": "sphere",
}

__all__ = [
    "BLOCK",
    "Addends",
    "Blocks",
    "Counts",
    "Cut",
    "Extremes",
    "agreeing_weight",
    "agreement",
    "apart_blocks",
    "arc_coefficients",
    "block_sums",
    "combine_from_base",
    "competition_scores",
    "cut_margin",
    "damp",
    "digit_counts",
    "digit_width",
    "digits_in",
    "directions_of",
    "divergences",
    "edges_of",
    "equal_counts",
    "exp",
    "gram",
    "gram_blocks",
    "karcher_coefficients",
    "keep_above",
    "keep_below",
    "keep_between",
    "keep_drawn",
    "keep_largest",
    "keep_probabilities",
    "keep_where",
    "krum_order",
    "largest_magnitude",
    "less_base",
    "magnitude_bits",
    "magnitude_from_bits",
    "mean_by_score",
    "median_coefficients",
    "multislerp_coefficients",
    "next_digit",
    "per_model",
    "round_to",
    "row_products",
    "row_sums",
    "slerp_coefficients",
    "slerp_unit_coefficients",
    "solve",
    "solve_diagonal",
    "solve_own",
    "sorted_models",
    "spread",
    "square_blocks",
    "stock_ratio",
    "stock_ratio_of_angles",
    "stream_key",
    "tanh",
    "total_weight",
    "uniform",
    "uniform_like",
    "users_of",
    "weighted_sum",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"cuvee.tensors.{_HOME[name]}"), name)
    raise AttributeError(f"module 'cuvee.tensors' has no attribute {name!r}")
