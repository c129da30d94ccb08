"""What a record says of where an input comes from: of its adapters, and of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.adapted import Adapted
from cuvee.checkpoint.adapter_config import ADAPTER_CONFIG
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.renamed import Renamed
from cuvee.checkpoint.view import View
from cuvee.errors import Fault, InputError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def base_of(reader: Reader) -> Reader:
    """The model below all adapters and views of its parts."""
    return base_of(reader.inner) if isinstance(reader, Adapted | Renamed) else reader


def adapters_of(reader: Reader) -> list[dict[str, Any]]:
    """The adapters of an input in the order in which they are applied: name, base as PEFT wrote it, files hashed."""
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


def hub_sums(folder: Path | None) -> dict[str, str]:
    """SHA-256 of weight files that lie in a hub cache, which names large files by it; nothing is read."""
    if folder is None or folder.parent.name != "snapshots":
        return {}
    found = {path.name: path.resolve().name for path in folder.glob("*.safetensors")}
    return {name: digest for name, digest in sorted(found.items()) if _SHA256.fullmatch(digest)}


def hub_place(folder: Path | None) -> dict[str, str]:
    """Id and commit of a model that lies in a hub cache, which names its folders by them."""
    if folder is None or folder.parent.name != "snapshots" or not _COMMIT.fullmatch(folder.name):
        return {}
    kind, *parts = folder.parent.parent.name.split("--")  # no id on the hub has two dashes in a row
    return {"model": "/".join(parts), "commit": folder.name} if kind == "models" and len(parts) in (1, 2) else {}


def folder_of(reader: Reader, doing: str) -> Path:
    """The folder of a model that is run as transformers loads it.

    Args:
        reader: the model.
        doing: what is done with it, for messages.

    Raises:
        InputError: `not-a-checkpoint`: it has no folder; `adapter-input`: it is made of several.
    """
    if adapters_of(reader):
        message = f"{reader.label}: {doing} takes a whole model's folder; this is a model with an adapter"
        hint = "write it out first: `cuvee lora apply BASE ADAPTER -o FOLDER`"
        raise InputError(Fault("adapter-input", message, subject=reader.label, hint=hint))
    if reader.folder is None:
        message = f"{reader.label}: {doing} takes a model's folder, which holds its configuration"
        raise InputError(Fault("not-a-checkpoint", message, subject=reader.label))
    return reader.folder
