"""One fingerprint for one sequence of bytes, wherever it lies: in a map, a pickle, memory, or a strided view."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import xxhash

from cuvee.checkpoint.flat import PIECE, tensor_pieces
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


def digest_pieces(pieces: Iterable[memoryview | bytes]) -> str:
    """xxh3-128 (hex) of pieces of bytes, as if they stood in one row."""
    state = xxhash.xxh3_128()
    for piece in pieces:
        state.update(piece)
    return str(state.hexdigest())


def digest_tensor(tensor: Tensor) -> str:
    """xxh3-128 (hex) of a tensor's little-endian row-major bytes; strides and device make no difference.

    Example:
        >>> import torch
        >>> square = torch.arange(4.0).reshape(2, 2)
        >>> digest_tensor(square.T) == digest_tensor(square.T.contiguous())
        True
    """
    return digest_pieces(tensor_pieces(tensor))


def digest_memory(buffer: memoryview) -> str:
    """xxh3-128 (hex) of bytes that may be a map of a large file: touched in order, a piece at a time."""
    return digest_pieces(_split(buffer))


def _split(buffer: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(buffer), PIECE):
        yield buffer[start : start + PIECE]


def content_hash(digests: Mapping[str, tuple[TensorSpec, str]]) -> str:
    """One fingerprint of a whole model: names, dtypes, shapes and bytes, whatever the files, shards and order.

    Args:
        digests: tensor name → its spec and the digest of its bytes.

    Returns:
        xxh3-128 (hex) of one line of JSON per tensor, `[name, dtype, shape, digest]`, sorted by name.
    """
    lines = ([name, spec.dtype, list(spec.shape), digest] for name, (spec, digest) in sorted(digests.items()))
    return digest_pieces(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
