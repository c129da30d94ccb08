"""A model that is read once: whole tensors stay in memory while there is room, the others are read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor

from cuvee.checkpoint.protocol import Reader


class Shelf:
    """Room that several models share; what is put there stays.

    Args:
        room: bytes.
    """

    def __init__(self, room: int) -> None:
        self._left = room
        self._tensors: dict[tuple[int, str], Tensor] = {}

    def grow(self, room: int) -> None:
        """Add room.

        Args:
            room: bytes.
        """
        self._left += room

    def get(self, owner: int, name: str, nbytes: int, read: Callable[[], Tensor]) -> Tensor | None:
        """A tensor, read if it is not there; `None` where there is no room for it."""
        if (owner, name) not in self._tensors:
            if nbytes > self._left:
                return None
            self._left -= nbytes
            self._tensors[owner, name] = read().clone()
        return self._tensors[owner, name]


class _Held:
    """A reader with a shelf; all but reading is the reader's own."""

    def __init__(self, reader: Reader, shelf: Shelf) -> None:
        self._reader = reader
        self._shelf = shelf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements of a tensor, from the shelf if it is there."""
        spec = self._reader.specs[name]
        whole = self._shelf.get(id(self), name, spec.nbytes, lambda: self._reader.read(name, 0, spec.numel))
        return self._reader.read(name, start, stop) if whole is None else whole[start:stop]


def held(reader: Reader, shelf: Shelf) -> Reader:
    """A reader whose tensors are kept on a shelf."""
    return cast(Reader, _Held(reader, shelf))
