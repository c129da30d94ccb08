"""Angles between whole tensors, from inner products gathered tile by tile."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cuvee.tensors.blocks import BLOCK, Blocks, block_sums

_SLICE = 64 * BLOCK
NEARLY_PARALLEL = 0.9995
"""Above this |cos θ| spherical interpolation is replaced by linear: sin θ is too small to divide by."""


def gram(stack: Tensor) -> Tensor:
    """Products xᵢ·xⱼ per element for i ≤ j, `[K(K+1)/2, n]` in float64, to be summed over all elements."""
    wide = stack.double()
    pairs = [wide[i] * wide[j] for i in range(len(wide)) for j in range(i, len(wide))]
    return torch.stack(pairs)


def gram_blocks(stack: Tensor, start: int) -> Blocks:
    """Block sums of the products of `gram`, made a slice at a time so that the float64 products stay in the cache.

    Args:
        stack: `[K, n]`, a tile.
        start: index in the tensor of the tile's first element, a multiple of `BLOCK`.
    """
    sums = [_pairs(stack[:, at : at + _SLICE].double()) for at in range(0, stack.shape[1], _SLICE)]
    return Blocks.at(start, torch.cat(sums, dim=-1))


def square_blocks(stack: Tensor, start: int) -> Blocks:
    """Block sums of xᵢ² in float64, `[K, blocks]`, made slice by slice too; arguments as those of `gram_blocks`."""
    wide = (stack[:, at : at + _SLICE].double() for at in range(0, stack.shape[1], _SLICE))
    return Blocks.at(start, torch.cat([block_sums(part * part) for part in wide], dim=-1))


def _pairs(wide: Tensor) -> Tensor:
    """Block sums of all products, those of one model at a time, so that no more than K of them are held."""
    return torch.cat([block_sums(wide[i] * wide[i:]) for i in range(len(wide))])


def slerp_coefficients(aa: float, ab: float, bb: float, t: float) -> tuple[float, float]:
    """Coefficients of a and b in spherical interpolation, from ‖a‖², a·b and ‖b‖².

    θ = arccos(a·b / ‖a‖‖b‖); (sin((1−t)θ)/sin θ, sin(tθ)/sin θ). Linear (1−t, t) when |cos θ| > 0.9995. A zero vector
    counts as orthogonal to every other.
    """
    norms = math.sqrt(aa) * math.sqrt(bb)
    if not math.isfinite(norms):
        return 1.0 - t, t  # infinities have no angle
    cosine = max(-1.0, min(1.0, ab / norms)) if norms > 0 else 0.0
    if abs(cosine) > NEARLY_PARALLEL:
        return 1.0 - t, t
    theta = math.acos(cosine)
    return math.sin((1.0 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)


def slerp_unit_coefficients(aa: float, ab: float, bb: float, t: float) -> tuple[float, float]:
    """The same for the unit vectors of a and b, times (1−t)‖a‖ + t‖b‖; the ends are a and b themselves.

    A zero vector has no direction and counts for nothing.
    """
    of_a, of_b = slerp_coefficients(aa, ab, bb, t)
    norms = math.sqrt(aa), math.sqrt(bb)
    if not all(map(math.isfinite, norms)):
        return of_a, of_b
    length = (1.0 - t) * norms[0] + t * norms[1]
    found = [c * (length / norm) if norm > 0 else 0.0 for c, norm in zip((of_a, of_b), norms, strict=True)]
    return found[0], found[1]
