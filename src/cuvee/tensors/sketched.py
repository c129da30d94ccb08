"""The largest singular triplets of a matrix by random projection.

Halko, Martinsson and Tropp 2011, "Finding structure with randomness" (arXiv:0909.4061), algorithms 4.4 and 5.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cuvee.tensors.lowrank import Triplets, triplets
from cuvee.tensors.random import random_words

_OVERSAMPLING = 10
_POWERS = 2
_SMALL = 4
"""A full decomposition is not slower where the sketch is more than this part of the smaller side."""


def gaussian(key: int, rows: int, columns: int) -> Tensor:
    """Independent standard normal numbers of a stream, `[rows, columns]`, float64, by Box and Muller."""
    count = rows * columns
    words = random_words(key, 0, 2 * count)
    # The highest 53 bits of a word; half a step up, so that no logarithm is of zero.
    uniform = (((words >> 11) & ((1 << 53) - 1)).double() + 0.5) * 2.0**-53
    first, second = uniform[:count], uniform[count:]
    return ((-2.0 * first.log()).sqrt() * (2.0 * math.pi * second).cos()).reshape(rows, columns)


def is_small(shape: tuple[int, int], rank: int) -> bool:
    """Whether a full decomposition is as good."""
    return _SMALL * (rank + _OVERSAMPLING) > min(shape)


def sketched_triplets(matrix: Tensor, rank: int, key: int) -> Triplets:
    """About the `rank` largest singular triplets, and the oversampling's, of a matrix.

        Y = (M Mᵀ)^q M Ω,  Y = Q R,  Qᵀ M = Ũ Σ Vᵀ,  U = Q Ũ

    What is left out is exact, whatever Ω is: ‖M − Σ_{i≤r} σᵢ uᵢ vᵢᵀ‖² = ‖M‖² − Σ_{i≤r} σᵢ².

    Args:
        matrix: `[m, n]`, float64.
        rank: at least 1.
        key: of the random numbers' stream.
    """
    basis = torch.linalg.qr(matrix @ gaussian(key, matrix.shape[1], min(rank + _OVERSAMPLING, *matrix.shape))).Q
    for _ in range(_POWERS):
        basis = torch.linalg.qr(matrix.mT @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    small = triplets(basis.mT @ matrix)
    return Triplets(basis @ small.u, small.sigma, small.vt)
