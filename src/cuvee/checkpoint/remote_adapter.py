"""Adapters behind a URL: both files are fetched, as nothing can be said of an adapter without its tensors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cuvee.checkpoint.adapter_config import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.remote_files import stamp_if_there
from cuvee.checkpoint.remote_side import SideFiles
from cuvee.checkpoint.wire import Stamp
from cuvee.errors import Fault, InputError


class FetchedAdapter:
    """The files of an adapter behind a URL, in a folder of ours until it is closed.

    Args:
        url: the adapter's folder.
        label: its name in messages.

    Raises:
        InputError: `bad-adapter`: a file is not there; `remote-denied` and the like: it cannot be had.
    """

    def __init__(self, url: str, label: str) -> None:
        self._url = url.rstrip("/")
        self._marks = dict(self._look_for(names, label) for names in ((ADAPTER_CONFIG,), ADAPTER_WEIGHTS))
        self.sides = SideFiles(self._url)
        try:
            (self.folder,) = {self.sides.fetch(name, mark).parent for name, mark in self._marks.items()}
        except BaseException:
            self.sides.close()
            raise

    def _look_for(self, names: Iterable[str], label: str) -> tuple[str, Stamp]:
        """The first of these files that is there."""
        for name in names:
            if mark := stamp_if_there(f"{self._url}/{name}"):
                return name, mark
        wanted = f"{ADAPTER_CONFIG} and {' or '.join(ADAPTER_WEIGHTS)}"
        message = f"{label}: an adapter has {wanted}; there is no {' or '.join(names)}"
        raise InputError(Fault("bad-adapter", message, subject=label, hint="name a folder that holds one"))

    def input_files(self, found: Iterable[InputFile]) -> tuple[InputFile, ...]:
        """The files under their addresses, with the store's mark of a version."""
        given = {Path(file.name).name: file.tensors for file in found}
        return tuple(
            InputFile(f"{self._url}/{name}", {"size": m.size, "tag": m.tag}, {}, given.get(name, frozenset()))
            for name, m in self._marks.items()
        )
