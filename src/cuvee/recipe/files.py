"""Recipe files and texts as documents: opened without waiting, read up to a limit, in UTF-8."""

from __future__ import annotations

import os

from cuvee.errors import Fault, Place, RecipeError
from cuvee.recipe.document import Document
from cuvee.recipe.limits import MAX_BYTES, refuse_large


def documents_in(file: str, shown: str | None = None) -> list[Document]:
    """The documents of a file, at least one.

    Args:
        file: its path.
        shown: what it is called in messages, if not by its path.

    Raises:
        RecipeError: `recipe-missing` if it cannot be read, `recipe-syntax` or `recipe-too-large`.
    """
    shown = shown or file
    try:
        raw = start_of(file, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the recipe `{shown}` cannot be read: {reason}"
        raise RecipeError(Fault("recipe-missing", message, subject=shown, hint="check the path")) from None
    refuse_large(len(raw), shown)
    return documents_of(_decoded(raw, shown), shown)


def documents_of(text: str, file: str) -> list[Document]:
    """The documents of a text, at least one; `file` is what it is called in messages.

    Raises:
        RecipeError: `recipe-syntax` or `recipe-too-large`.
    """
    from cuvee.recipe.text import read_documents  # ruamel.yaml: only who reads YAML loads it

    return read_documents(text, file)


def start_of(file: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a file, at most one more than `limit`.

    Raises:
        OSError: it cannot be read.
    """
    # Opened without waiting: a pipe that nobody writes to would hold us for ever. One with a writer is read as usual.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(limit + 1)


def _decoded(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = Place(file, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        message = f"a recipe should be UTF-8 text, found the byte 0x{raw[error.start]:02x}"
        raise RecipeError(Fault("recipe-syntax", message, place, hint="save it as UTF-8")) from None
