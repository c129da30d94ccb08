"""One fingerprint for one tensor's bytes, wherever they lie and in whatever order they come.

    xxh3-128 of the row-major, little-endian bytes, for a tensor of at most `CHUNK` elements
    xxh3-128 of the xxh3-128s (16 bytes each) of its chunks of `CHUNK` elements, for a larger one

So a tile can be hashed while it is in the processor's cache, by whichever worker has it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import xxhash

from cuvee.checkpoint.flat import flat_slice, tensor_bytes
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

CHUNK: Final = 1 << 17
"""Elements hashed as one."""

_DIGEST: Final = 16


def digest_pieces(pieces: Iterable[memoryview | bytes]) -> str:
    """xxh3-128 (hex) of pieces of bytes, as if they stood in one row."""
    state = xxhash.xxh3_128()
    for piece in pieces:
        state.update(piece)
    return str(state.hexdigest())


class TensorHash:
    """The fingerprint of one tensor, from its chunks in any order; several threads may bring them.

    Args:
        numel: elements of the tensor.
    """

    def __init__(self, numel: int) -> None:
        self._numel = numel
        self._found: list[bytes | None] = [None] * max(1, math.ceil(numel / CHUNK))
        self._parts: dict[tuple[int, int], bytes] = {}

    def add(self, start: int, data: memoryview, itemsize: int) -> None:
        """Take in a run of bytes; parts of chunks are kept for `known` only.

        Args:
            start: the element it begins with.
            data: the bytes of whole elements.
            itemsize: bytes per element.
        """
        self.take(start, start + len(data) // itemsize, digest_cuts(start, data, itemsize))

    def take(self, start: int, stop: int, digests: bytes) -> None:
        """Take in what `digest_cuts` gave for a run of elements."""
        for i, (first, last) in enumerate(_cuts(start, stop)):
            if first % CHUNK == 0 and (last % CHUNK == 0 or last == self._numel):
                self._found[first // CHUNK] = digests[_DIGEST * i : _DIGEST * (i + 1)]
        if not self._is_whole(start, stop):
            self._parts[start, stop] = digests

    def known(self, start: int, stop: int) -> bytes:
        """What `digest_cuts` gives for whole chunks, or for a run as it was taken in; empty where that is not known."""
        if not self._is_whole(start, stop):
            return self._parts.get((start, stop), b"")
        found = self._found[start // CHUNK : math.ceil(stop / CHUNK)]
        return b"".join(d for d in found if d is not None) if None not in found else b""

    def _is_whole(self, start: int, stop: int) -> bool:
        return start % CHUNK == 0 and (stop % CHUNK == 0 or stop == self._numel)

    def hexdigest(self) -> str | None:
        """The fingerprint (hex); `None` while a chunk is missing."""
        if self._numel == 0:
            return digest_pieces([])
        known = [digest for digest in self._found if digest is not None]
        if len(known) < len(self._found):
            return None
        return known[0].hex() if len(known) == 1 else str(xxhash.xxh3_128_hexdigest(b"".join(known)))


def digest_cuts(start: int, data: memoryview, itemsize: int) -> bytes:
    """The fingerprints of a run of elements, cut wherever a chunk of the tensor ends.

    Args:
        start: the element of the tensor that it begins with.
        data: the bytes of whole elements.
        itemsize: bytes per element.

    Returns:
        16 bytes for each cut, in order; those of whole chunks are the chunks' own.
    """
    stop = start + len(data) // itemsize
    return b"".join(
        xxhash.xxh3_128_digest(data[(first - start) * itemsize : (last - start) * itemsize])
        for first, last in _cuts(start, stop)
    )


def has_cuts(start: int, stop: int, digests: bytes, digest_of: Callable[[int, int], bytes]) -> bool:
    """Whether a run of elements has these `digest_cuts`, looking at one cut after the other.

    Args:
        start: the element it begins with.
        stop: the one it ends before.
        digests: what it should have.
        digest_of: `digest_cuts` of the elements of one cut.
    """
    cuts = list(_cuts(start, stop))
    return len(digests) == _DIGEST * len(cuts) and all(
        digest_of(*cut) == digests[_DIGEST * i : _DIGEST * (i + 1)] for i, cut in enumerate(cuts)
    )


def _cuts(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A run of elements, cut wherever a chunk ends."""
    for chunk in range(start // CHUNK, math.ceil(stop / CHUNK)):
        yield max(start, chunk * CHUNK), min(stop, (chunk + 1) * CHUNK)


def digest_chunks(numel: int, itemsize: int, chunks: Iterable[memoryview]) -> str:
    """The fingerprint of a tensor from all its chunks in order."""
    found = TensorHash(numel)
    for i, chunk in enumerate(chunks):
        found.add(i * CHUNK, chunk, itemsize)
    digest = found.hexdigest()
    assert digest is not None, "all chunks were given"
    return digest


def digest_tensor(tensor: Tensor) -> str:
    """The fingerprint of a tensor; strides and device make no difference.

    Example:
        >>> import torch
        >>> square = torch.arange(4.0).reshape(2, 2)
        >>> digest_tensor(square.T) == digest_tensor(square.T.contiguous())
        True
    """
    return digest_chunks(tensor.numel(), tensor.element_size(), _chunks(tensor))


def _chunks(tensor: Tensor) -> Iterator[memoryview]:
    numel = tensor.numel()
    for start in range(0, numel, CHUNK):
        piece = flat_slice(tensor, start, min(start + CHUNK, numel)).contiguous()
        yield tensor_bytes(piece)  # a view of `piece`, which lives until the next one is asked for


def content_hash(digests: Mapping[str, tuple[TensorSpec, str]]) -> str:
    """One fingerprint of a whole model: names, dtypes, shapes and bytes, whatever the files, shards and order.

    Args:
        digests: tensor name → its spec and the digest of its bytes.

    Returns:
        xxh3-128 (hex) of one line of JSON per tensor, `[name, dtype, shape, digest]`, sorted by name.
    """
    lines = ([name, spec.dtype, list(spec.shape), digest] for name, (spec, digest) in sorted(digests.items()))
    return digest_pieces(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
