"""Fingerprints of whole files: xxh3-128 for the record, SHA-256 where the world expects it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cuvee.checkpoint.digest import digest_pieces
from cuvee.checkpoint.flat import PIECE


def digest_bytes(data: bytes) -> str:
    """xxh3-128 (hex) of some bytes."""
    return digest_pieces([data])


def digest_file(path: Path) -> str:
    """xxh3-128 (hex) of a file's bytes."""
    return digest_pieces(file_pieces(path))


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, piece by piece."""
    with path.open("rb") as file:
        yield from pieces_of(file)


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of an open file, from where it stands."""
    while piece := file.read(PIECE):
        yield piece
