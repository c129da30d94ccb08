"""What a member should say besides its answers, such as that texts were cut: noted while it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTES: ContextVar[list[str] | None] = ContextVar("notes of members", default=None)


def note(text: str) -> None:
    """Say something to whoever listens; nobody does outside `noted`."""
    if (notes := _NOTES.get()) is not None and text not in notes:
        notes.append(text)


@contextmanager
def noted() -> Iterator[list[str]]:
    """The notes that are made meanwhile, each once; those of a thread started with this context too."""
    notes: list[str] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)
