"""A worker that lasts: a process that opens what it needs once, and then does one job after the other."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cuvee.errors import CuveeError, Fault, ResourceError


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job, or why none can be done; an exception of ours does not survive pickling."""

    result: Any = None
    error: tuple[type[CuveeError], tuple[Fault, ...]] | None = None

    def given(self) -> Any:
        """The result.

        Raises:
            CuveeError: what the worker was not ready for.
        """
        if self.error is not None:
            kind, faults = self.error
            raise kind(faults)
        return self.result


class Lasting:
    """Does jobs in a process of its own.

    Args:
        told: a pickled function without arguments that gives what does a job; it opens what jobs need.
    """

    def __init__(self, told: bytes) -> None:
        self._do: Callable[[Any], Any] | None = None
        self._why: tuple[type[CuveeError], tuple[Fault, ...]] | None = None
        try:
            self._do = _unpacked(told)()
        except CuveeError as error:
            self._why = type(error), error.faults

    def ready(self) -> Done:
        """Whether jobs can be done."""
        return Done(error=self._why)

    def do(self, told: bytes) -> Done:
        """Do a pickled job."""
        return Done(error=self._why) if self._do is None else Done(self._do(_unpacked(told)))


def _unpacked(told: bytes) -> Any:
    try:
        return pickle.loads(told)
    except Exception as error:  # whatever a module that is not there, or another version of it, makes of it
        said = " ".join(str(error).split())[:300]
        message = f"a worker cannot unpack what it was sent: {type(error).__name__}: {said}"
        hint = "modules of your own, and the same versions, must be installed on every machine of the cluster"
        raise ResourceError(Fault("worker-mismatch", message, hint=hint)) from error
