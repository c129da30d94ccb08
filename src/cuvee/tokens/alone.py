"""A folder that holds a tokenizer and no model, as a reader without tensors."""

from __future__ import annotations

from pathlib import Path

from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint.contents import is_weight_file
from cuvee.checkpoint.memory import MemoryReader
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.side_files import find_side_files
from cuvee.checkpoint.strict_json import read_capped
from cuvee.checkpoint.view import View
from cuvee.errors import InputError
from cuvee.tokens.files import BINARIES
from cuvee.types import ModelRef

_WORDS = ("tokenizer.json", "vocab.json", "vocab.txt", *BINARIES)
"""Files that the words of a tokenizer stand in."""
_LIMIT = 10_000_000
"""Bytes that a config.json may have."""


class TokenizerAlone(View):
    """A `Reader` of a folder without weights.

    Args:
        label: its name in messages.
        folder: the folder.

    Raises:
        InputError: `unsafe-link`: a file in it leads outside.
    """

    def __init__(self, label: str, folder: Path) -> None:
        super().__init__(MemoryReader(label, {}))
        self._folder = folder
        self._files, faults = find_side_files(folder)
        if faults:
            raise InputError(faults)

    @property
    def folder(self) -> Path | None:
        """The folder."""
        return self._folder

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """Its files."""
        return self._files

    @property
    def config_text(self) -> str | None:
        """The text of its `config.json`, which says of what kind an old tokenizer is."""
        file = self._folder / "config.json"
        return read_capped(file, _LIMIT).decode("utf-8", "replace") if file.is_file() else None


def open_giver(ref: ModelRef, root: Path | None, *, hub_download: bool) -> Reader:
    """A model that is named for its tokenizer: a whole one, or a folder with nothing but a tokenizer.

    Args:
        ref: what it is called.
        root: folder that relative paths start from.
        hub_download: whether weights of the hub may be fetched.

    Raises:
        InputError: it is neither.
    """
    folder = (root or Path()) / ref.path
    if ref.adapter is None and folder.is_dir():
        names = [file.name for file in folder.iterdir()]
        if any(name in _WORDS for name in names) and not any(map(is_weight_file, names)):
            return TokenizerAlone(str(ref), folder)
    return open_checkpoint(ref, root, hub_download=hub_download)
