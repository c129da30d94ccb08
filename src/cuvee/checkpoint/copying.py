"""Copying a side file into an output, and hashing it on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import xxhash

from cuvee.checkpoint.fingerprint import pieces_of
from cuvee.checkpoint.identity import changed, identity_of
from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.regular import open_regular
from cuvee.errors import Fault, InputError


def copy_hashed(source: Path, target: Path, shown: Path, node: tuple[int, int] | None = None) -> str:
    """Copy a file's bytes, not its rights and times; a link is copied as the file it leads to.

    Args:
        source: a file of an input.
        target: where it is copied to.
        shown: what messages call the target.
        node: device and inode of the file that is meant; another one under its name is refused.

    Returns:
        xxh3-128 (hex) of the bytes copied.

    Raises:
        InputError: `io-error`: the source cannot be read, or changed meanwhile.
        ResourceError: the target cannot be written.
    """
    hasher = xxhash.xxh3_128()
    with told("write", shown), target.open("xb") as copy:
        for piece in _pieces(source, node):
            hasher.update(piece)
            copy.write(piece)
    return str(hasher.hexdigest())


def _pieces(path: Path, node: tuple[int, int] | None) -> Iterator[bytes]:
    """The bytes of an input file; what goes wrong is no fault of the output."""
    try:
        with open_regular(path) as file:
            before = identity_of(os.fstat(file.fileno()))
            if node not in (None, before[:2]):
                raise InputError(changed(path, "since the model was opened"))
            yield from pieces_of(file)
            after = identity_of(os.fstat(file.fileno()))
    except OSError as error:
        message = f"could not read {path}: {error.strerror or error}"
        raise InputError(Fault("io-error", message, None, str(path), "check the file and its rights")) from error
    if after != before:
        raise InputError(changed(path, "while it was read"))
