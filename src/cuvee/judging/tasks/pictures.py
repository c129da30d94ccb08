"""The one place that knows pillow: pictures in folders named after their classes, opened as RGB."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, InputError, UsageError

ENDINGS: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
"""Endings of files that are taken for pictures."""


def pictures_in(folder: Path) -> list[tuple[str, str]]:
    """Every picture in the sub-folders of a folder, as its path from there, and the sub-folder's name, its class.

    Raises:
        InputError: there is none.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [
        (path.relative_to(folder).as_posix(), home.name)
        for home in classes
        for path in sorted(home.rglob("*"))
        if path.suffix.lower() in ENDINGS and path.is_file()
    ]
    if not found:
        message = f"{folder} should hold folders of pictures, one for each class, or a table; found none"
        raise InputError(Fault("bad-data", message, subject=str(folder)))
    return found


def open_picture(source: Path | bytes) -> Any:
    """A picture in RGB.

    Raises:
        UsageError: pillow is not installed.
        InputError: it cannot be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        hint = 'pip install "cuvee[judge]"'
        message = "pillow is needed to open pictures, and is not installed"
        raise UsageError(Fault("missing-extra", message, subject="pillow", hint=hint)) from error
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        shown = "a picture in the data" if isinstance(source, bytes) else str(source)
        message = f"{shown} cannot be read as a picture: {str(error)[:200]}"
        raise InputError(Fault("bad-data", message, subject=shown)) from error
