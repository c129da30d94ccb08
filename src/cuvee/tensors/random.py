"""Counter-based random numbers: a pure function of (seed, model, tensor, element), with no generator to share.

Each number is the SplitMix64 output function applied to `key + (index + 1) · γ` (Steele, Lea and Flood 2014, "Fast
splittable pseudorandom number generators"), with a 64-bit key hashed from the seed and the names. So a mask has the
same bytes for any tile, worker, device or restart, and changing one tensor changes no other.
"""

from __future__ import annotations

import hashlib
from typing import Final

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """A 64-bit pattern as the int64 that torch holds."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_GAMMA: Final = _signed(0x9E3779B97F4A7C15)
_MIX_1: Final = _signed(0xBF58476D1CE4E5B9)
_MIX_2: Final = _signed(0x94D049BB133111EB)


def stream_key(seed: int, *names: str) -> int:
    """A 64-bit key for one stream, from the seed and the names of model and tensor."""
    text = "\x00".join((str(seed), *names)).encode()
    return _signed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own keeps the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def random_bits(key: int, start: int, stop: int, device: torch.device | None = None) -> Tensor:
    """64 random bits for each element index from `start` to `stop` (not included), as int64 `[stop - start]`."""
    z = torch.arange(start + 1, stop + 1, dtype=torch.int64, device=device) * _GAMMA + key
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def uniform(key: int, start: int, stop: int, device: torch.device | None = None) -> Tensor:
    """Uniform draws in [0, 1) with 24 bits each, float32 `[stop - start]`; exact in float32."""
    return _shift(random_bits(key, start, stop, device), 40).float() * 2.0**-24
