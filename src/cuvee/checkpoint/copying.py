"""Copying a side file into an output, and hashing it on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import xxhash

from cuvee.checkpoint.flat import PIECE
from cuvee.checkpoint.identity import changed, identity_of
from cuvee.checkpoint.os_errors import told
from cuvee.errors import Fault, InputError


def copy_hashed(source: Path, target: Path, shown: Path) -> str:
    """Copy a file's bytes, not its rights and times; a link is copied as the file it leads to.

    Args:
        source: a file of an input.
        target: where it is copied to.
        shown: what messages call the target.

    Returns:
        xxh3-128 (hex) of the bytes copied.

    Raises:
        InputError: `io-error`: the source cannot be read, or changed meanwhile.
        ResourceError: the target cannot be written.
    """
    hasher = xxhash.xxh3_128()
    with told("write", shown), target.open("xb") as copy:
        for piece in _pieces(source):
            hasher.update(piece)
            copy.write(piece)
    return str(hasher.hexdigest())


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes of an input file; what goes wrong is no fault of the output."""
    try:
        with path.open("rb") as file:
            before = identity_of(os.fstat(file.fileno()))
            while piece := file.read(PIECE):
                yield piece
            after = identity_of(os.fstat(file.fileno()))
    except OSError as error:
        message = f"could not read {path}: {error.strerror or error}"
        raise InputError(Fault("io-error", message, None, str(path), "check the file and its rights")) from error
    if after != before:
        raise InputError(changed(path, "while it was read"))
