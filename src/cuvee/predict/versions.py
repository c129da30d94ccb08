"""The versions of an ensemble: one writer at a time, readers never wait and never see half a change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cuvee.errors import Fault, UsageError
from cuvee.predict.state import State


class Versions:
    """States, oldest first.

    All that readers look at is one reference to a tuple, which is exchanged whole. Changes wait for each other under a
    lock, however long fitting takes, so that none is made on a state that another has replaced meanwhile.

    Args:
        first: the first state.
        keep: how many of the newest states stay, 1 or more: each holds the bank that it was fitted on.
    """

    def __init__(self, first: State, keep: int = 50) -> None:
        if not isinstance(keep, int) or keep < 1:
            message = f"`keep` must be an integer of at least 1; found {keep!r}"
            raise UsageError(Fault("bad-argument", message, subject="keep"))
        self._keep = keep
        self._lock = threading.RLock()
        self._states: tuple[State, ...] = (first,)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, told: dict[str, Any]) -> None:
        self.__dict__.update(told, _lock=threading.RLock())

    @property
    def all(self) -> tuple[State, ...]:
        """Those that are kept, oldest first."""
        return self._states

    @property
    def now(self) -> State:
        """The state that answers."""
        return self._states[-1]

    def change(self, step: Callable[[State], State]) -> State:
        """Make the next version of the present one; where `step` raises, nothing has changed."""
        with self._lock:
            made = replace(step(self.now), number=self.now.number + 1)
            self._states = (*self._states, made)[-self._keep :]
            return made

    def back_to(self, number: int) -> State:
        """Make a version the present one again; it becomes the newest, under a number of its own.

        Raises:
            UsageError: `bad-argument`: there is no such version, or it is no longer kept.
        """

        def step(_: State) -> State:
            found = [one for one in self._states if one.number == number]
            if not found:
                kept = f"{self._states[0].number} to {self.now.number}"
                message = f"there is no version {number!r}; the versions kept are {kept}"
                raise UsageError(Fault("bad-argument", message, subject="version"))
            return replace(found[0], what=f"back to version {number}: {found[0].what}")

        return self.change(step)
