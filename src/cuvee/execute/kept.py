"""The last few things that were worked out, shared by threads and bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Place(Generic[T]):
    """Room for one thing; whoever comes first makes it while the others wait."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.lock = threading.Lock()
        self.made: list[T] = []


class Kept(Generic[T]):
    """What was worked out last, by name; the oldest are forgotten where all would take too much.

    Args:
        room: bytes that all may take.
        few: how many of the newest are kept whatever they take, so that threads that need one each do not work them
            out in turns.
    """

    def __init__(self, room: int, few: int) -> None:
        self._room = room
        self._few = few
        self._lock = threading.Lock()
        self._places: OrderedDict[str, _Place[T]] = OrderedDict()

    def get(self, name: str, nbytes: int, make: Callable[[], T]) -> T:
        """What has a name, made if it is not there; of several threads that ask, one makes it.

        Args:
            name: what it is called.
            nbytes: bytes that it takes, at most.
            make: makes it.
        """
        with self._lock:
            place = self._places.setdefault(name, _Place(nbytes))
            self._places.move_to_end(name)
        with place.lock:
            if not place.made:
                place.made.append(make())
                self._forget()
            return place.made[0]

    def _forget(self) -> None:
        with self._lock:
            made = [name for name, place in self._places.items() if place.made]
            total = sum(self._places[name].nbytes for name in made)
            for name in made[: max(0, len(made) - self._few)]:
                if total <= self._room:
                    return
                total -= self._places.pop(name).nbytes

    def most(self, sizes: Iterable[int]) -> int:
        """Bytes that things of these sizes take at any time, at most: those kept, and one more for an instant."""
        falling = sorted(sizes, reverse=True)
        return min(sum(falling), max(self._room, sum(falling[: self._few])) + max(falling, default=0))
