"""One embedding of 128 Ki × 16 Ki, as a model of 400 billion parameters has: 4.3 GB in bfloat16, and two fine-tunes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SHAPE: Final = (128 * 1024, 16 * 1024)
NAME: Final = "model.embed_tokens.weight"
MODELS: Final = ("base", "a", "b")
PIECE: Final = 1 << 23
"""Entries written, or looked at, at a time."""
_POOL: Final = 1 << 25
"""Random numbers that are made; every piece begins elsewhere in them, and has a spread of its own."""


def header(shape: tuple[int, int] = SHAPE) -> bytes:
    """The length and header of a file that holds the embedding and nothing else."""
    size = shape[0] * shape[1] * 2
    entry = {"dtype": "BF16", "shape": list(shape), "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": {"format": "pt"}, NAME: entry}).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_models(folder: Path, shape: tuple[int, int] = SHAPE) -> None:
    """Write the base and its fine-tunes.

    Args:
        folder: where they go, a file each.
        shape: rows and columns; a multiple of a piece, or less than one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [(folder / f"{name}.safetensors").open("wb") for name in MODELS]
    for file in files:
        file.write(header(shape))
    for rows in _pieces(shape[0] * shape[1]):
        for file, row in zip(files, rows, strict=True):
            file.write(row.view(_bits()).numpy().data)
    for file in files:
        file.close()


def _bits() -> object:
    import torch

    return torch.uint16


def _pieces(numel: int) -> Iterator[tuple[Tensor, ...]]:
    """A piece of every model: the base, and the base and noise whose spread grows from one end to the other."""
    import torch

    pool = torch.randn(_POOL + PIECE, generator=torch.Generator().manual_seed(0))
    for number, start in enumerate(range(0, numel, PIECE)):
        count, share = min(PIECE, numel - start), start / numel
        places = [(number * step + first) % _POOL for step, first in ((7919, 0), (104729, 3), (1299709, 11))]
        base, one, other = (pool[place * 31 % _POOL :][:count] for place in places)
        origin = (base * (0.02 + 0.01 * share)).bfloat16()
        tunes = ((one, 0.002 * (1 + share)), (other, 0.003 * (2 - share)))
        yield (origin, *((origin.float() + noise * size).bfloat16() for noise, size in tunes))


def opened(path: Path, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """The entries of such a file as bits of bfloat16, as a map of the file, `[n]`."""
    import numpy as np

    length = 8 + int.from_bytes(path.read_bytes()[:8] if path.stat().st_size < 1 << 20 else _first(path), "little")
    return np.memmap(path, np.uint16, "r", offset=length, shape=(shape[0] * shape[1],))


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)
