"""How many tiles are on a device at a time, and how large they may be: less of both after it ran out of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cuvee.errors import Fault, ResourceError
from cuvee.planning.room import SMALLEST_TILE


class Turns:
    """Shared by the workers of a run.

    Args:
        device: the device's name.
        abreast: tiles at a time, at first.
    """

    def __init__(self, device: str, abreast: int) -> None:
        self._device = device
        self._abreast = abreast
        self._under_way = 0
        self._changed = threading.Condition()
        self.most: int | None = None

    @contextmanager
    def one(self) -> Iterator[bool]:
        """Wait for a turn; tells whether it is the only one."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < self._abreast)
            self._under_way += 1
            alone = self._abreast == 1
        try:
            yield alone
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def ran_out(self, size: int, *, alone: bool) -> None:
        """The device had no memory for a tile: from now on one at a time, and if it was the only one, half the size.

        Args:
            size: elements that the tile had.
            alone: whether it was the only one.

        Raises:
            ResourceError: `memory`: the smallest tile by itself does not fit.
        """
        with self._changed:
            self._abreast = 1
            if not alone:
                return
            if size <= SMALLEST_TILE:
                message = f"{self._device} has no memory for {size:,} entries of every model at a time"
                hint = "end what else runs there, choose another GPU, or take --device cpu"
                raise ResourceError(Fault("memory", message, subject=self._device, hint=hint))
            half = max(size // 2, SMALLEST_TILE)
            self.most = half if self.most is None else min(self.most, half)
