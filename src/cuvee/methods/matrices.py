"""What the spectral methods share: words, and how much memory a factorisation takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cuvee.methods.params import LAMBDA
from cuvee.types import Param

_FACTORED: Final = 80
"""Bytes per entry while a matrix is factored, besides itself: a copy, U, Vᵀ, and what LAPACK works in, all in float64.
58 measured of a square matrix, less of others."""
_JOINED: Final = 56
_JOINED_FIXED: Final = 48
"""Bytes per entry of each delta, and of the tensor, where all deltas are factored as one matrix: 40 and 33 measured."""
_ONE: Final = 8
_FIXED: Final = 1 << 20

VECTORS: Final = (
    "Embeddings and output heads are matrices like all others, and a convolution is one with a row for each output "
    "channel; vectors and scalars get the mean of their deltas."
)
NULL: Final = (
    "Singular values that are rounding (below max(m, n)·2⁻⁵² of the largest) count as zero and their vectors are left "
    "out, which the authors' code keeps although they are whatever its SVD returns; of deltas of full rank nothing is "
    "left out."
)
SPECTRAL_LAWS: Final = ("tiles", "scale-equivariance", "rotation", "seed", "finite")


def held(matrices: int) -> Callable[[int, int, int], int]:
    """What a method holds while it works on one tensor.

    Args:
        matrices: arrays of float64 as large as the tensor that it holds beside one factorisation.
    """

    def bytes_held(numel: int, _models: int, _tile: int) -> int:
        return numel * (_FACTORED + _ONE * matrices) + _FIXED

    return bytes_held


def held_joined(numel: int, models: int, _tile: int) -> int:
    """The same where all deltas are factored as one matrix."""
    return numel * (_JOINED * (models - 1) + _JOINED_FIXED) + _FIXED


_DECOMPOSED: Final = 11
"""Multiplications of a product that take as long as a singular value decomposition, per min(m, n)²·max(m, n)."""


def decomposed(rows: int, width: int, times: float = 1.0) -> int:
    """Multiplications that so many singular value decompositions of a matrix count for."""
    return int(_DECOMPOSED * times * rows * width * min(rows, width))


def decompositions(fixed: int, per_model: int) -> Callable[[int, int, int], int]:
    """What a method multiplies that decomposes matrices as large as the tensor.

    Args:
        fixed: how many, for any number of models.
        per_model: how many more for each model.
    """

    def operations(rows: int, width: int, read: int) -> int:
        return decomposed(rows, width, max(0, fixed + per_model * (read - 1)))

    return operations


def scale_of_merged(told: str) -> Param:
    """λ, and what the paper does about it."""
    return replace(LAMBDA, doc=f"{LAMBDA.doc}; {told}")
