"""Side files whose text is made here, and written nowhere before somebody wants them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from cuvee.checkpoint.protocol import SideFile


def given_file(name: str, text: str) -> SideFile:
    """A side file with a text; it lies in a folder of this process's own once it has been asked for.

    Args:
        name: its name, relative to the model's folder.
        text: what it holds.
    """
    data = text.encode("utf-8")
    return SideFile(name, Path(name), len(data), fetch=cache(lambda: _written(name, data)))


@cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cuvee-", ignore_cleanup_errors=True)


def _written(name: str, data: bytes) -> Path:
    path = Path(tempfile.mkdtemp(dir=_own_folder().name)) / Path(name).name
    path.write_bytes(data)
    return path
