"""Estimators written and read by skops, which makes no object of a type that was not trusted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection
from typing import Any, Final

from cuvee.errors import Fault, UsageError

_SCHEMA: Final = "schema.json"


def dumped(model: Any) -> bytes:
    """An estimator as the bytes of a `.skops` file.

    Raises:
        Exception: whatever skops raises for what it cannot write.
    """
    return bytes(_skops().dumps(model))


def asked(data: bytes) -> list[str]:
    """Types in a file that skops does not trust by itself, sorted.

    Raises:
        ValueError: the file is damaged, or none of ours.
    """
    check_archive(data)
    try:
        return sorted(_skops().get_untrusted_types(data=data))
    except Exception as error:
        raise ValueError(f"skops cannot read it: {type(error).__name__}: {error}") from error


def loaded(data: bytes, trusted: Collection[str]) -> Any:
    """The estimator.

    Raises:
        Exception: whatever skops, or the library that the estimator is of, raises.
    """
    return _skops().loads(data, trusted=sorted(trusted))


def roots(data: bytes) -> list[str]:
    """Top-level packages of everything in a file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read(_SCHEMA))
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(module := one.get("__module__"), str):
                found.add(module.split(".")[0])
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return sorted(found - {"builtins"})


def check_archive(data: bytes) -> None:
    """Refuse what unpacks to more than it is: skops packs nothing, as we ask it to.

    Raises:
        ValueError: it is no archive, or one that we did not write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ValueError(f"it is no .skops file: {error}") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are compressed, which those of a saved ensemble are not")
    if sum(entry.file_size for entry in entries) > len(data):
        raise ValueError("its entries claim more bytes than it has")
    if _SCHEMA not in {entry.filename for entry in entries}:
        raise ValueError(f"it has no {_SCHEMA}")


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        message = "estimators are saved and loaded by skops, which is not installed"
        raise UsageError(Fault("missing-extra", message, hint="pip install 'cuvee[predict]'")) from error
    return skops.io
