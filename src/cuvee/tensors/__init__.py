"""Arithmetic shared by the merge methods: plain functions over stacks of tensors.

The names are loaded on first use, so that a method can be *declared* without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.tensors.affine import per_model, total_weight, weighted_sum
    from cuvee.tensors.bits import pack_bits, unpack_bits
    from cuvee.tensors.blocks import BLOCK, Blocks, Counts, block_sums
    from cuvee.tensors.consensus import agreeing_weight, agreement
    from cuvee.tensors.geometry import gram, gram_blocks, slerp_coefficients
    from cuvee.tensors.quadratic import damp, solve, solve_diagonal, solve_own
    from cuvee.tensors.random import stream_key, uniform
    from cuvee.tensors.rounding import round_to
    from cuvee.tensors.sparsify import (
        Cut,
        digit_counts,
        digit_width,
        digits_in,
        edges_of,
        equal_counts,
        keep_below,
        keep_drawn,
        keep_largest,
        keep_probabilities,
        magnitude_bits,
        magnitude_from_bits,
        next_digit,
    )

_HOME = {
    "per_model": "affine",
    "total_weight": "affine",
    "weighted_sum": "affine",
    "pack_bits": "bits",
    "unpack_bits": "bits",
    "BLOCK": "blocks",
    "Blocks": "blocks",
    "Counts": "blocks",
    "block_sums": "blocks",
    "agreement": "consensus",
    "agreeing_weight": "consensus",
    "gram": "geometry",
    "gram_blocks": "geometry",
    "slerp_coefficients": "geometry",
    "damp": "quadratic",
    "solve": "quadratic",
    "solve_diagonal": "quadratic",
    "solve_own": "quadratic",
    "stream_key": "random",
    "uniform": "random",
    "round_to": "rounding",
    "Cut": "sparsify",
    "digit_counts": "sparsify",
    "digit_width": "sparsify",
    "digits_in": "sparsify",
    "edges_of": "sparsify",
    "equal_counts": "sparsify",
    "keep_below": "sparsify",
    "keep_drawn": "sparsify",
    "keep_probabilities": "sparsify",
    "keep_largest": "sparsify",
    "magnitude_bits": "sparsify",
    "magnitude_from_bits": "sparsify",
    "next_digit": "sparsify",
}

__all__ = [
    "BLOCK",
    "Blocks",
    "Counts",
    "Cut",
    "agreeing_weight",
    "agreement",
    "block_sums",
    "damp",
    "digit_counts",
    "digit_width",
    "digits_in",
    "edges_of",
    "equal_counts",
    "gram",
    "gram_blocks",
    "keep_below",
    "keep_drawn",
    "keep_largest",
    "keep_probabilities",
    "magnitude_bits",
    "magnitude_from_bits",
    "next_digit",
    "pack_bits",
    "per_model",
    "round_to",
    "slerp_coefficients",
    "solve",
    "solve_diagonal",
    "solve_own",
    "stream_key",
    "total_weight",
    "uniform",
    "unpack_bits",
    "weighted_sum",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"cuvee.tensors.{_HOME[name]}"), name)
    raise AttributeError(f"module 'cuvee.tensors' has no attribute {name!r}")
