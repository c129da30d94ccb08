"""What a record says of adapters among a merge's inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cuvee.checkpoint.adapted import Adapted
from cuvee.checkpoint.adapter_config import ADAPTER_CONFIG
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.view import View


def base_of(reader: Reader) -> Reader:
    """The model below all adapters."""
    return base_of(reader.inner) if isinstance(reader, Adapted) else reader


def adapters_of(reader: Reader) -> list[dict[str, Any]]:
    """The adapters of an input in the order in which they are applied: name, base as PEFT wrote it, files hashed."""
    from cuvee.execute.record import hub_place

    found: list[dict[str, Any]] = []
    for one in _views(reader):
        adapter = one.adapter
        folder = adapter.folder or Path()
        names = [ADAPTER_CONFIG, *(Path(file.name).name for file in adapter.input_files)]
        hub = hub_place(folder)
        found.insert(
            0,
            {
                "model": adapter.label,
                "base": adapter.base or "",
                "files": {name: digest_file(folder / name) for name in dict.fromkeys(names)},
                **({"hub": hub} if hub else {}),
            },
        )
    return found


def _views(reader: Reader) -> Iterator[Adapted]:
    while isinstance(reader, View):
        if isinstance(reader, Adapted):
            yield reader
        reader = reader.inner
